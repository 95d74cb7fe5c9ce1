"""What detect-secrets does not know by itself: the shapes of our own keys, tickets and webhook secrets."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class OwnKeyDetector(RegexBasedDetector):
    """API keys and tickets of db/keys.py and api/key_ring.py, webhook secrets of rules/webhooks.py."""

    secret_type = "Key of this product"  # noqa: S105 - what it is called
    denylist = (re.compile(r"\bs[kt]_[0-9a-f]{32,}"), re.compile(r"\bwhsec_[A-Za-z0-9+/]{20,}={0,2}"))
