"""A certificate authority of the tests' own, by the openssl command."""

import os
import subprocess

CONFIG = """
[ca]
default_ca = own
[own]
dir = {folder}
database = {folder}/index
serial = {folder}/serial
crlnumber = {folder}/crlnumber
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
"""


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, f"openssl {arguments}: {done.stderr}"
    return done.stdout


class Authority:
    """Signs certificates into its folder; each is NAME.pem with NAME.key."""

    def __init__(self, folder, name="authority of the tests"):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.config = self.path("openssl.cnf")
        self._write("openssl.cnf", CONFIG.format(folder=self.folder))
        self._write("index", "")
        self._write("serial", "1000\n")
        self._write("crlnumber", "1000\n")
        openssl("req", "-x509", "-config", self.config, "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.path("ca.key"), "-out",
                self.path("ca.pem"), "-subj", f"/CN={name}", "-days", "30",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-addext", "basicConstraints=critical,CA:true")
        self.ca = self.path("ca.pem")

    def path(self, name):
        return os.path.join(self.folder, name)

    def _write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def sign(self, name, san="DNS:localhost,IP:127.0.0.1", key="ec", dates=()):
        """Returns the paths of certificate and key."""
        kind = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}[key]
        openssl("req", "-config", self.config, "-newkey", *kind, "-nodes", "-keyout",
                self.path(f"{name}.key"), "-out", self.path(f"{name}.csr"), "-subj", f"/CN={name}",
                "-addext", f"subjectAltName={san}")
        openssl("ca", "-config", self.config, "-batch", "-notext", "-in", self.path(f"{name}.csr"),
                "-out", self.path(f"{name}.pem"), *dates)
        return self.path(f"{name}.pem"), self.path(f"{name}.key")

    def expired(self, name):
        return self.sign(name, dates=["-startdate", "20200101000000Z",
                                      "-enddate", "20210101000000Z"])

    def revoke(self, name):
        openssl("ca", "-config", self.config, "-revoke", self.path(f"{name}.pem"))

    def revocation_list(self):
        openssl("ca", "-config", self.config, "-gencrl", "-out", self.path("ca.crl"))
        return self.path("ca.crl")

    def self_signed(self, name):
        openssl("req", "-x509", "-config", self.config, "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.path(f"{name}.key"), "-out",
                self.path(f"{name}.pem"), "-subj", f"/CN={name}",
                "-addext", "subjectAltName=DNS:localhost")
        return self.path(f"{name}.pem"), self.path(f"{name}.key")
