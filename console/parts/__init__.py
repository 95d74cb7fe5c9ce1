"""The parts of the pages that run in the browser: Vue components beside the Python classes that speak to them.

All text from outside reaches the page by Vue's interpolation, which escapes it; none of the parts sets HTML.
"""
