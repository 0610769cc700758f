"""OpenStack Swift with its S3 interface, all of its servers in one process: a store with signatures, multipart uploads and
names that appear when an upload is completed.

object-store.py FOLDER: prints `listening PORT` when it takes requests, on loopback. What is stored is in FOLDER. Key `test:tester`, secret `testing`; `test:stranger` (`strange`) may nothing.
"""
import eventlet

eventlet.monkey_patch()

import os
import sys

from eventlet import wsgi
from swift.common import utils
from swift.common.ring import RingBuilder
from swift.common.storage_policy import reload_storage_policies
from swift.common.wsgi import loadapp

KINDS = ("account", "container", "object")
FILTERS = {
    "catch_errors": "",
    "gatekeeper": "",
    "listing_formats": "",
    "bulk": "",
    "s3api": "auth_pipeline_check = false\n",
    "tempauth": "user_test_tester = testing .admin\nuser_test_stranger = strange\n",
    "copy": "",
    "slo": "",
    "versioned_writes": "allow_object_versioning = true\n",
    "symlink": "",
}


class Cache:
    """In place of memcached, for one process."""

    def __init__(self):
        self.values = {}

    def get(self, key, raise_on_error=False):
        return self.values.get(key)

    def set(self, key, value, **_options):
        self.values[key] = value

    def delete(self, key, server_key=None):
        self.values.pop(key, None)


def with_cache(app):
    cache = Cache()

    def call(env, start_response):
        env["swift.cache"] = cache
        return app(env, start_response)

    return call


def make_ring(folder, kind, port):
    builder = RingBuilder(1, 1, 0)
    device = {"id": 0, "region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": port, "device": "d", "meta": ""}
    builder.add_dev(device)
    builder.rebalance()
    builder.get_ring().save(os.path.join(folder, kind + ".ring.gz"))


def write_settings(folder):
    common = (
        f"[DEFAULT]\nswift_dir = {folder}\ndevices = {folder}/devices\nmount_check = false\n"
        "fallocate_reserve = 0\ndisable_fallocate = true\n"
    )
    settings = {
        kind: f"[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n" for kind in KINDS
    }
    settings["proxy"] = f"[pipeline:main]\npipeline = {' '.join(FILTERS)} proxy-server\n"
    settings["proxy"] += "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
    settings["proxy"] += "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n{more}" for name, more in FILTERS.items())
    for kind, text in settings.items():
        with open(os.path.join(folder, kind + ".conf"), "w") as file:
            file.write(common + text)


folder = sys.argv[1]
sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in (*KINDS, "proxy")}
utils.HASH_PATH_PREFIX = utils.HASH_PATH_SUFFIX = b"quicksave"
os.makedirs(os.path.join(folder, "devices", "d"))
for kind in KINDS:
    make_ring(folder, kind, sockets[kind].getsockname()[1])
write_settings(folder)
reload_storage_policies()
for kind, socket in sockets.items():
    app = loadapp(os.path.join(folder, kind + ".conf"))
    eventlet.spawn(wsgi.server, socket, with_cache(app) if kind == "proxy" else app, log_output=False)
print("listening", sockets["proxy"].getsockname()[1], flush=True)
while True:
    eventlet.sleep(3600)
