"""A server on this machine that speaks as much of Kaggle's protocol as presets need.

Each file is announced, put where the server said, and known by a token; a model's variation is made
of such tokens. A variation's versions are lists of {path: data}.
"""

import http.server
import json


class Kaggle(http.server.BaseHTTPRequestHandler):
    """Attributes of the server: `token` that may write, `blobs`, `models` and `variations`."""

    def do_POST(self):
        asked = json.loads(self.received())
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.answer({"code": 403, "message": "no permission"}, 403)
            return
        getattr(self, self.path.rpartition("/")[2])(asked)

    def do_PUT(self):
        self.server.blobs[self.path.rpartition("/")[2]][1] = self.received()
        self.answer({})

    def GetModel(self, asked):
        known = (asked["ownerSlug"], asked["modelSlug"]) in self.server.models
        self.answer({"slug": asked["modelSlug"]} if known else {}, 200 if known else 404)

    def CreateModel(self, asked):
        self.server.models.append((asked["ownerSlug"], asked["slug"]))
        self.answer({})

    def StartBlobUpload(self, asked):
        token = f"blob{len(self.server.blobs)}"
        self.server.blobs[token] = [asked["name"], None]
        endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.answer({"token": token, "createUrl": f"{endpoint}/put/{token}"})

    def CreateModelInstance(self, asked):
        key = (asked["ownerSlug"], asked["modelSlug"], asked["body"]["instanceSlug"])
        if key in self.server.variations:
            self.answer({"error": "it exists", "errorCode": 409})
            return
        self.server.variations[key] = []
        self.add_version(key, asked["body"])

    def CreateModelInstanceVersion(self, asked):
        key = (asked["ownerSlug"], asked["modelSlug"], asked["instanceSlug"])
        self.add_version(key, asked["body"])

    def add_version(self, key, body):
        files, left = {}, [("", body)]
        while left:
            folder, part = left.pop()
            for file in part.get("files", []):
                name, data = self.server.blobs[file["token"]]
                files[folder + name] = data
            left += [(f"{folder}{one['name']}/", one) for one in part.get("directories", [])]
        self.server.variations[key].append(files)
        self.answer({})

    def GetModelInstance(self, asked):
        self.answer({"versionNumber": len(self.versions(asked))})

    def DownloadModelInstanceVersion(self, asked):
        data = self.versions(asked)[asked["versionNumber"] - 1].get(asked["path"])
        if data is None:
            self.answer({"code": 404, "message": "no such file"}, 404)
        else:
            self.reply(data, "application/octet-stream")

    def versions(self, asked):
        key = (asked["ownerSlug"], asked["modelSlug"], asked["instanceSlug"])
        return self.server.variations[key]

    def received(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, value, status=200):
        self.reply(json.dumps(value).encode(), "application/json", status)

    def reply(self, data, kind, status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass
