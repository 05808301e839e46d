"""An HTTPS server for admission webhooks: what it answers is decided by each test, by path."""

import base64
import http.server
import json
import socketserver
import ssl
import threading


class Call:
    """One review that came: the path with its query, the headers, and the AdmissionReview."""

    def __init__(self, path, headers, review):
        self.path, self.headers, self.review = path, headers, review
        self.request = review["request"]

    def __repr__(self):
        return f"{self.request['operation']} {self.request['resource']['resource']}/{self.request.get('name')}"


class HookServer:
    """Listens on loopback until closed. `pair` and `authority` are of tests/e2e/pki.py."""

    def __init__(self, authority, pair):
        self.bundle = base64.b64encode(authority.certificate.read_bytes()).decode()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(str(pair.certificate), str(pair.key))
        self._answers = {}
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.tls = self._context
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def url(self, path):
        return f"https://127.0.0.1:{self.port}{path}"

    def on(self, path, answer):
        """`answer(call)` gives an AdmissionResponse (uid and frame are added), or (status, headers, bytes)."""
        self._answers[path] = answer

    def _handler(self):
        answers = self._answers

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # pylint: disable=invalid-name
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = answers.get(self.path.partition("?")[0])
                if answer is None:
                    self._send(404, {}, b"nobody here")
                    return
                call = Call(self.path, self.headers, json.loads(body))
                given = answer(call)
                if isinstance(given, dict):
                    given = (200, {"Content-Type": "application/json"}, framed(call, given))
                self._send(*given)

            def _send(self, status, headers, data):
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    self.close_connection = True  # it did not wait for us: a test of timeouts

            def log_message(self, *_):
                pass

        return Handler


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128
    tls = None

    def get_request(self):
        connection, address = super().get_request()
        connection.settimeout(60)
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, *_):
        pass  # a caller that does not trust us, or that left: tests look at what came of it


def framed(call, response, **frame):
    """The AdmissionReview with this response, as bytes."""
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", **frame,
                       "response": {"uid": call.request["uid"], "allowed": True, **response}}).encode()


def patched(*operations, **response):
    """An AdmissionResponse with a JSON patch."""
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode(), **response}


def labelled(call, key, value):
    """An AdmissionResponse that sets a label, on objects without labels too."""
    escaped = key.replace("~", "~0").replace("/", "~1")
    missing = "labels" not in call.request["object"]["metadata"]
    return patched(*([{"op": "add", "path": "/metadata/labels", "value": {}}] if missing else []),
                   {"op": "add", "path": f"/metadata/labels/{escaped}", "value": value})
