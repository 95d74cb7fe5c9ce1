"""What every page has: head line with pages, connection, sound, theme and who is signed in."""

from collections.abc import Callable
from typing import Literal

from nicegui import ui
from nicegui.element import Element

from console.parts.elements import Moment
from console.sessions import Session
from console.texts import say
from schemas.base import format_instant

_THEME = """
(() => {
  const key = "tcu-theme";
  const wanted = localStorage.getItem(key) ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = wanted;
  window.tcuTurnTheme = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem(key, next);
    document.documentElement.dataset.theme = next;
    window.dispatchEvent(new Event("tcu-theme"));
  };
})();
"""

_COME_BACK = """
(() => {
  // A page whose session has ended is refused its connection, and would try for ever: it loads anew.
  let refused = 0;
  setInterval(async () => {
    const answers = !window.socket?.connected && (await fetch("/livez", { cache: "no-store" }).catch(() => null))?.ok;
    refused = answers && !window.socket?.connected ? refused + 1 : 0;
    if (refused >= 3) location.reload();
  }, 3000);
})();
"""
"""Nine seconds: a page that may come back tries to once in five, or a little more."""


class Frame:
    """The head line of a page; as a context manager, the place for the page's content."""

    def __init__(self, session: Session, *, page: str, sound: Callable[[bool], None] | None = None) -> None:
        self._session = session
        ui.add_head_html('<link rel="stylesheet" href="/static/look.css">')
        ui.add_head_html(f"<script>{_THEME}{_COME_BACK}</script>")
        link("#content", say("skip")).classes("skip")
        with tag("header").classes("top"):
            tag("span", say("title")).classes("brand")
            with tag("nav").props(f'aria-label="{say("nav")}"'):
                pages = {
                    "center": session.sees_center,
                    "guardian": session.sees_family,
                    "operator": session.sees_operation,
                }
                for name in (name for name, seen in pages.items() if seen):
                    here = link(f"/{name}", say(f"nav.{name}"))
                    if name == page:
                        here.props('aria-current="page"')
            with tag("span").classes("live").props('role="status"') as self._live:
                self._words = tag("span")
                self._since = Moment("", "seconds")
            with tag("span").classes("tools"):
                if sound is not None:
                    _sound_switch(sound)
                turn = button("").classes("icon contrast").props(f'aria-label="{say("theme")}" title="{say("theme")}"')
                turn.on("click", js_handler="() => window.tcuTurnTheme()")
                tag("span", session.who.agent_id or session.role.capitalize()).classes("who")
                with tag("form").props('method="post" action="/sign-out"'):
                    tag("button", say("sign_out")).classes("button quiet").props("type=submit")
        self._banner = tag("p").classes("banner").props('role="alert"')
        self._content = tag("main").props("id=content tabindex=-1").classes(f"page-{page}")
        self.turned()

    def __enter__(self) -> Element:
        self._content.__enter__()
        return self._content

    def __exit__(self, *_: object) -> None:
        self._content.__exit__()

    def turned(self) -> None:
        """Show whether what is seen is live."""
        board = self._session.board
        lost_since = board.lost_since
        retext(self._banner, say(board.lost_why))
        self._banner.set_visibility(lost_since is not None)
        self._content.classes(**{"add" if lost_since else "remove": "stale"})
        self._live.classes(replace="live lost" if lost_since else "live")
        retext(self._words, say("live") if lost_since is None else say("live.lost"))
        self._since.set_visibility(lost_since is not None)
        self._since.show("" if lost_since is None else format_instant(lost_since))


def _sound_switch(sound: Callable[[bool], None]) -> None:
    on = True
    switch = (
        button("").classes("icon bell").props(f'aria-label="{say("sound")}" title="{say("sound")}" aria-pressed=true')
    )

    def turn() -> None:
        nonlocal on
        on = not on
        switch.props(f"aria-pressed={str(on).lower()}")
        sound(on)

    switch.on("click", turn)


def notify(words: str, *, look: Literal["good", "bad"]) -> None:
    """Tell for a few seconds what has become of an action."""
    ui.notify(words, type="positive" if look == "good" else "negative", textColor=look, position="bottom-left")


def tag(name: str, text: str | None = None) -> Element:
    """Return a plain HTML element with this text, which the browser shows as text."""
    made = Element(name)
    if text is not None:
        retext(made, text)
    return made


def retext(element: Element, text: str) -> None:
    """Give an element of `tag` another text."""
    element._text = text
    element.update()


def button(text: str) -> Element:
    """Return a button that submits nothing."""
    return tag("button", text).props("type=button")


def link(target: str, text: str) -> Element:
    """Return a link."""
    return tag("a", text).props(f'href="{target}"')
