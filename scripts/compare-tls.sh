#!/usr/bin/env bash
# Runs scripts/compare.sh over TLS: fan-in, handshakes in full and resumed, and WebSocket over TLS, against
# the brokers whose scripts/brokers/NAME.sh can start a listener with TLS. All have the same certificates,
# made for this run: RSA with 2,048 bits, and ECDSA with P-256.
#
#   scripts/compare-tls.sh [DIRECTORY]     results go to DIRECTORY, or to compare-tls-results
#
# The environment may set what scripts/compare.sh takes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

CERTIFICATES=$(mktemp --directory)
trap 'rm --recursive --force "$CERTIFICATES"' EXIT
export CERTIFICATES
export BROKERS=${BROKERS:-mosquitto ringmq relay}

make_certificates() { # NAME KEY...: NAME.pem and NAME.key for localhost, signed by NAME-ca.pem
    local own=$CERTIFICATES/$1
    openssl req -x509 -newkey "${@:2}" -nodes -days 2 -subj "/CN=authority of $1" \
        -keyout "$own-ca.key" -out "$own-ca.pem" -addext basicConstraints=critical,CA:true \
        -addext keyUsage=critical,keyCertSign &&
        openssl req -newkey "${@:2}" -nodes -subj /CN=localhost -keyout "$own.key" -out "$own.csr" &&
        openssl x509 -req -in "$own.csr" -CA "$own-ca.pem" -CAkey "$own-ca.key" -CAcreateserial -days 2 \
            -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1) -out "$own.pem"
}
{
    make_certificates rsa rsa:2048 &&
        make_certificates ecdsa ec -pkeyopt ec_paramgen_curve:P-256
} 2>"$CERTIFICATES/log" || {
    cat "$CERTIFICATES/log" >&2
    exit 1
}

# Handshakes: each client of a storm connects and leaves, so what is counted is accept, TLS, CONNECT and the
# end of the connection.
OWN_SCENARIOS=$(
    cat <<'ROWS'
tls-fan-in-max|fan-in --clients 10 --max --batch 64 --payload-size 16|tls:ecdsa
tls-fan-in-1k-max|fan-in --clients 10 --max --batch 16 --payload-size 1k|tls:ecdsa
wss-fan-in-max|fan-in --clients 10 --max --batch 64 --payload-size 16|wss:ecdsa
wss-fan-in-1k-max|fan-in --clients 10 --max --batch 16 --payload-size 1k|wss:ecdsa
tls-pairs-max|pairs --clients 100 --max --batch 16 --payload-size 16|tls:ecdsa
tls-pairs-1k-max|pairs --clients 100 --max --batch 16 --payload-size 1k|tls:ecdsa
tls-pairs-qos1-max|pairs --clients 50 --max --qos 1 --window 64 --payload-size 16|tls:ecdsa
wss-pairs-1k-max|pairs --clients 100 --max --batch 16 --payload-size 1k|wss:ecdsa
ws-pairs-max|pairs --clients 100 --max --batch 16 --payload-size 16|ws
ws-pairs-1k-max|pairs --clients 100 --max --batch 16 --payload-size 1k|ws
plain-pairs-1k-max|pairs --clients 100 --max --batch 16 --payload-size 1k
plain-connects|connect-storm --clients 100 --rounds 30
tls-rsa-full-connects|handshake-storm --clients 100 --rounds 15|tls:rsa
tls-rsa-resumed-connects|resumption-storm --clients 100 --rounds 30|tls:rsa
tls-ecdsa-full-connects|handshake-storm --clients 100 --rounds 30|tls:ecdsa
tls-ecdsa-resumed-connects|resumption-storm --clients 100 --rounds 30|tls:ecdsa
tls12-ecdsa-resumed-connects|resumption-storm --clients 100 --rounds 30 --tls-version 1.2|tls:ecdsa
wss-ecdsa-resumed-connects|resumption-storm --clients 100 --rounds 30|wss:ecdsa
ROWS
)
export OWN_SCENARIOS
"$here/compare.sh" "${1:-compare-tls-results}"
