"""`RemoteMonitor`."""

import http.client
import json

from lamina.callbacks.callback import Callback
from lamina.core.tracebacks import warn

_SECONDS_TO_ANSWER = 10


class RemoteMonitor(Callback):
    """Send the values of each epoch to a server.

    Each epoch is one POST to `root + path`. A server that does not answer, or
    answers with an error, costs a warning, not the training.

    Args:
        root: the address of the server.
        path: the path on it.
        field: the form field that holds the values as JSON.
        headers: more HTTP headers, as a dict.
        send_as_json: whether the body is the JSON itself instead of a form.

    >>> import lamina
    >>> monitor = lamina.callbacks.RemoteMonitor("http://localhost:9000")
    >>> monitor.path
    '/publish/epoch/end/'
    """

    on_every_process = False

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: dict | None = None,
        send_as_json: bool = False,
    ):
        super().__init__()
        self.send_as_json = send_as_json
        self.headers = headers
        self.field = field
        self.path = path
        self.root = root

    def _may_become(self, name, value):
        return False  # it counts nothing

    def on_epoch_end(self, epoch, logs=None):
        """Send the values."""
        import urllib.request

        values = {"epoch": epoch}
        for name, value in (logs or {}).items():
            values[name] = value.tolist() if hasattr(value, "tolist") else value
        text = json.dumps(values)
        try:
            request = self._request(text)
            urllib.request.urlopen(request, timeout=_SECONDS_TO_ANSWER).close()
        # No server, an answer that is an error or no HTTP, an address that is none.
        except (OSError, http.client.HTTPException, ValueError) as error:
            warn(f"Could not reach RemoteMonitor root server at {self.root}: {error}")

    def _request(self, text):
        import urllib.parse
        import urllib.request

        if self.send_as_json:
            body, kind = text, "application/json"
        else:
            body = urllib.parse.urlencode({self.field: text})
            kind = "application/x-www-form-urlencoded"
        return urllib.request.Request(
            self.root + self.path,
            data=body.encode(),
            headers={"Content-Type": kind, **(self.headers or {})},
        )
