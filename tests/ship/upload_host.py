"""A static host for the tests of uploads: takes PUT and keeps what it gets, with a token or with AWS signatures of version 4.

    python3 upload_host.py DIR bearer TOKEN
    python3 upload_host.py DIR s3 KEY_ID SECRET REGION

Prints its port, and then a line for each request: the status, the path, its Content-Type and its Cache-Control. The signature is computed
from AWS's description of it, with nothing but the standard library, and first tried on an example of AWS's own.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit


def signature(secret: str, scope: str, date: str, canonical: str) -> str:
    """The signature of a canonical request."""
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def check_with_example() -> None:
    """The example `get-vanilla` of AWS's test suite."""
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f"GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n{empty}"
    scope = "20150830/us-east-1/service/aws4_request"
    found = signature("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", scope, "20150830T123600Z", canonical)
    assert found == "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", found


class Host(BaseHTTPRequestHandler):
    """Takes what is allowed."""

    directory: Path
    rules: list[str]

    def log_message(self, *_: object) -> None:
        """Says nothing on standard error."""

    def do_PUT(self) -> None:
        """Keeps a file."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = 200 if self.allowed(body) else 403
        if status == 200:
            path = self.directory / unquote(self.path).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        print(status, self.path, self.headers["Content-Type"], self.headers["Cache-Control"], sep="|", flush=True)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def allowed(self, body: bytes) -> bool:
        """Whether the sender may."""
        if self.rules[0] == "bearer":
            return self.headers.get("Authorization") == f"Bearer {self.rules[1]}"
        _, key_id, secret, region = self.rules
        kind, _, rest = self.headers.get("Authorization", "").partition(" ")
        fields = dict(part.strip().split("=", 1) for part in rest.split(",")) if rest else {}
        date = self.headers.get("X-Amz-Date", "")
        scope = f"{date[:8]}/{region}/s3/aws4_request"
        if kind != "AWS4-HMAC-SHA256" or fields.get("Credential") != f"{key_id}/{scope}":
            return False
        names = fields["SignedHeaders"].split(";")
        if not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names):
            return False
        if self.headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            return False
        url = urlsplit(self.path)
        headers = "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in names)
        canonical = "\n".join(
            ["PUT", quote(unquote(url.path), safe="/-_.~"), url.query, headers, ";".join(names), self.headers["x-amz-content-sha256"]]
        )
        return hmac.compare_digest(signature(secret, scope, date, canonical), fields["Signature"])


if __name__ == "__main__":
    check_with_example()
    Host.directory, Host.rules = Path(sys.argv[1]), sys.argv[2:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    print(server.server_address[1], flush=True)
    server.serve_forever()
