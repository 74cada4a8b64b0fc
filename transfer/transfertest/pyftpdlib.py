"""An FTP server on pyftpdlib. Its settings come as JSON on standard input."""

import json
import logging
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

settings = json.load(sys.stdin)
logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format="%(message)s")
# Commands and replies, without the library's account of its own inner life.
logging.getLogger().handlers[0].addFilter(lambda r: "[debug]" not in r.getMessage())

if settings["tls"]:
    from pyftpdlib.handlers import TLS_FTPHandler

    class Handler(TLS_FTPHandler):
        certfile = settings["cert"]
        tls_control_required = True
        tls_data_required = True

        if settings["implicit"]:

            greeted = False

            def handle(self):
                """Leave the greeting to the thread of the session."""

            def add_channel(self, *args, **kwargs):
                super().add_channel(*args, **kwargs)
                if self.ioloop is not server.ioloop and not self.greeted:
                    self.greeted = True
                    self.secure_connection(self.ssl_context)
                    super().handle()

            def handle_ssl_established(self):
                self._prot = True

else:

    class Handler(FTPHandler):
        pass


refused = set()
if settings["active_only"]:
    refused |= {"PASV", "EPSV"}
if settings["passive_only"]:
    refused |= {"PORT", "EPRT"}
Handler.proto_cmds = {k: v for k, v in Handler.proto_cmds.items() if k not in refused}

Handler.authorizer = DummyAuthorizer()
Handler.authorizer.add_user(
    settings["user"], settings["password"], settings["dir"], perm="elradfmwMT"
)

# A thread for each session: in one thread pyftpdlib 1.5.7 mixes up sessions that
# use active mode at the same time.
server = ThreadedFTPServer((settings["host"], settings["port"]), Handler)
server.max_cons_per_ip = settings["max_per_ip"]
server.serve_forever()
