#!/bin/sh
# Makes an authority and one certificate for agents and their coordinator, in a folder.
set -eu
folder=${1:?usage: certificates.sh FOLDER}
mkdir -p "$folder"
cd "$folder"
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=mqload \
    -keyout authority.key -out ca.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=mqload-agent \
    -keyout mqload.key -out request.pem 2>/dev/null
printf 'subjectAltName=DNS:mqload-agent\nbasicConstraints=CA:FALSE\n' >extensions
openssl x509 -req -in request.pem -CA ca.pem -CAkey authority.key -CAcreateserial -days 365 \
    -extfile extensions -out mqload.pem 2>/dev/null
# The authority is needed for no more than this.
rm -f authority.key request.pem extensions ca.srl
