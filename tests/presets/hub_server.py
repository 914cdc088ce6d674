"""A server on this machine that speaks as much of Hugging Face's protocol as presets need.

A repository is a folder. Files are read at /REPOSITORY/resolve/REVISION/FILE; a commit comes as
lines of JSON, after its large files were put where the server said.
"""

import base64
import hashlib
import http.server
import json
import re

HEAD = "0" * 40


class Hub(http.server.BaseHTTPRequestHandler):
    """Attributes of the server: `root`, `token` that may write, `requests` and `large`, blobs."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        listed = re.fullmatch(r"/api/models/([^/?]+/[^/?]+)(/.*)?", self.path)
        if listed:
            self.list_files(listed[1])
        else:
            self.do_HEAD(body=True)

    def do_HEAD(self, body=False):
        repository, found, rest = self.path.strip("/").partition("/resolve/")
        path = self.server.root / repository / rest.partition("/")[2]
        if not found or not path.is_file():
            self.refuse_missing(repository)
            return
        data = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": HEAD}
        self.reply(200, data, headers, body)

    def list_files(self, repository):
        folder = self.server.root / repository
        if not folder.is_dir():
            self.refuse_missing(repository)
            return
        files = [path for path in folder.rglob("*") if path.is_file()]
        names = [path.relative_to(folder).as_posix() for path in files]
        tree = [{"type": "file", "path": name, "size": 1, "oid": HEAD} for name in names]
        self.answer(tree if "/tree/" in self.path else {"id": repository, "sha": HEAD})

    def do_POST(self):
        data = self.received()
        self.server.requests.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.reply(403, b'{"error": "no permission"}', {"X-Error-Message": "no permission"})
        elif self.path == "/api/repos/create":
            asked = json.loads(data)
            name = f"{asked['organization']}/{asked['name']}"
            (self.server.root / name).mkdir(parents=True, exist_ok=True)
            self.answer({"url": f"{self.endpoint}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self.validate(json.loads(data)["content"])
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(data)["files"]]
            modes = {name: "lfs" if name.endswith(".h5") else "regular" for name in names}
            facts = [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]
            self.answer({"files": facts})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(data)["objects"]
            for one in objects:
                one["actions"] = {"upload": {"href": f"{self.endpoint}/large/{one['oid']}"}}
            self.answer({"transfer": "basic", "objects": objects})
        else:
            self.commit(data)

    def do_PUT(self):
        data = self.received()
        name = self.path.rpartition("/")[2]
        assert hashlib.sha256(data).hexdigest() == name
        self.server.large[name] = data
        self.answer({})

    def validate(self, content):
        wrong = [] if "license: unheard-of" not in content else [{"message": "unknown license"}]
        answer = json.dumps({"errors": wrong, "warnings": []}).encode()
        self.reply(400 if wrong else 200, answer)

    def commit(self, data):
        repository = re.fullmatch(r"/api/models/(.+)/commit/main", self.path)[1]
        for line in data.decode().splitlines():
            item = json.loads(line)
            value, kind = item["value"], item["key"]
            if kind == "header":
                continue
            path = self.server.root / repository / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "deletedFile":
                path.unlink()
            elif kind == "lfsFile":
                path.write_bytes(self.server.large[value["oid"]])
            else:
                path.write_bytes(base64.b64decode(value["content"]))
        url = f"{self.endpoint}/{repository}/commit/{HEAD}"
        self.answer({"commitUrl": url, "commitOid": HEAD})

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def received(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def refuse_missing(self, repository):
        missing = (self.server.root / repository).is_dir()
        self.reply(404, b"", {"X-Error-Code": "EntryNotFound" if missing else "RepoNotFound"})

    def answer(self, value):
        self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def reply(self, status, data, headers=(), body=True):
        self.send_response(status)
        for name, value in {**dict(headers), "Content-Length": len(data)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass
