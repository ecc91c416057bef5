"""The playground as an app in the browser, for readers who want no notebook: `make app`.

Voila runs playground.ipynb and shows its output alone. It listens on this machine only, asks for
the token in the address that it prints, answers no page but its own, serves no files and runs no
code that a page sends. A browser that keeps to its rules sends nothing to other machines either.
Where the kernel of a page has died, the page says so and offers a new one.
"""

import os
import signal
import webbrowser
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import RequestHandler, authenticated
from traitlets.config import Config
from voila.app import Voila

NOTEBOOK = Path(__file__).parent / "playground.ipynb"
TEMPLATES = Path(__file__).parent / "templates"
ADDRESS = "127.0.0.1"
# Voila's page asks for icons of a web site: refused, as all that is not on this machine.
RULES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws://127.0.0.1:* blob: data:; worker-src 'self' blob:; "
    "form-action 'self'; frame-ancestors 'self'"
)
SETTINGS: dict[str, dict[str, Any]] = {
    "Voila": {
        "notebook_path": str(NOTEBOOK),
        "ip": ADDRESS,
        "auto_token": True,
        "config_file_paths": [],  # of other projects
        "tornado_settings": {
            "headers": {"Content-Security-Policy": RULES},
            "ws_ping_timeout": 30_000,
        },
        "log_level": "WARN",
    },
    "VoilaConfiguration": {
        "file_allowlist": [],
        "file_denylist": [".*"],
        "extension_allowlist": [
            "@jupyter-widgets/jupyterlab-manager",
            "@voila-dashboards/widgets-manager8",
            "anywidget",
        ],
        "allow_template_override": "NO",
        "show_tracebacks": False,
    },
    "VoilaExecutor": {"timeout": 180, "startup_timeout": 120},
    # A page that is closed ends its kernel; this is for browsers that could not say goodbye.
    "MappingKernelManager": {"cull_idle_timeout": 600, "cull_interval": 60},
    # A kernel that is started anew knows no widgets: the page has to be loaded anew with it.
    "KernelManager": {"autorestart": False},
}


if os.name == "posix":  # the kernel cannot be reached by network, not even from this machine
    SETTINGS["KernelManager"]["transport"] = "ipc"


class Foreign(Matcher):
    """Requests from pages of other sites, or to another name than this machine's.

    Voila lets both pass if they have the token.
    """

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        own = request.host_name in (ADDRESS, "localhost")
        origin = request.headers.get("Origin", f"http://{request.host}")
        return None if own and origin == f"http://{request.host}" else {}


class Refused(RequestHandler):
    """Answers what is foreign."""

    def prepare(self) -> None:
        self.set_status(403)
        self.finish(f"The playground answers its own page only, at http://{ADDRESS}.")


class Alive(JupyterHandler):
    """Says whether a kernel still runs. A page asks this every few seconds."""

    @authenticated
    async def get(self, kernel_id: str) -> None:
        manager = self.kernel_manager
        known = kernel_id in manager
        # Voila's kernels are asynchronous, as the annotation of their base class doesn't say.
        alive = known and await manager.get_kernel(kernel_id).is_alive()  # type: ignore[misc]
        self.finish({"alive": alive})


class App(Voila):
    """Voila with the settings above; says its address in one line."""

    browse = True

    def setup_template_dirs(self) -> None:
        """Our page before Voila's."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(TEMPLATES))

    def init_handlers(self) -> list[Any]:
        """Ours before Voila's."""
        return [(Foreign(), Refused), (r"/alive/([\w-]+)", Alive), *super().init_handlers()]

    def end(self, *_: Any) -> None:
        """Let the server stop at its next turn, and end its kernels."""
        self.ioloop.asyncio_loop.call_soon_threadsafe(self.ioloop.stop)

    def launch_browser(self) -> None:
        """Called when the server listens."""
        # Voila waits for KeyboardInterrupt, which whatever runs just then may swallow.
        signal.signal(signal.SIGINT, self.end)
        address = self.display_url
        print(f"The playground is at {address}\nCtrl+C ends it.", flush=True)
        if self.browse:
            webbrowser.open(address)


def run(port: int = 8866, browse: bool = True) -> None:
    """Serve the playground until Ctrl+C, on `port` or one near it; `browse` opens a browser."""
    app = App.instance()
    app.browse = browse
    app.update_config(Config(SETTINGS))
    app.port = port
    app.initialize([])
    app.start()
