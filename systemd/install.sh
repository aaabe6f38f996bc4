#!/bin/sh
# Install this checkout into /opt/sipwatch, with unit, user and an example; run it again
# to upgrade. With DESTDIR everything goes below that folder and the machine is left
# alone: no root, no user, no systemctl.
set -eu

PREFIX=${PREFIX:-/opt/sipwatch}
PYTHON=${PYTHON:-python3}
DESTDIR=${DESTDIR:-}
HERE=$(cd "$(dirname "$0")/.." && pwd)

die() { echo "install: $*" >&2; exit 1; }

if [ -z "$DESTDIR" ] && [ "$(id -u)" != 0 ]; then
    die "needs root: sudo make install (or DESTDIR=folder to look at it first)"
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "needs Python 3.11 or newer: name one with PYTHON=python3.12"

put() {  # put FILE MODE DESTINATION
    mkdir -p "$DESTDIR$(dirname "$3")"
    install -m "$2" "$1" "$DESTDIR$3"
}

# Built from a copy, so that a checkout of another user stays as it is.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
for part in setup.cfg pyproject.toml README.md LICENSE checks alerting sipwatch; do
    cp -R "$HERE/$part" "$copy/"
done

venv=$DESTDIR$PREFIX
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1
then
    "$PYTHON" -m venv --clear "$venv" ||
        die "no virtual environments here: apt-get install python3-venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-warn-script-location --upgrade "$copy"
if [ -n "$DESTDIR" ]; then  # scripts name the Python of the place where they will run
    grep -lsI "^#!$venv/bin/" "$venv"/bin/* | while read -r script; do
        sed -i "1s|^#!$DESTDIR|#!|" "$script"
    done
fi

doc=$PREFIX/share/doc/sipwatch
put "$HERE/README.md" 644 "$doc/README.md"
(cd "$HERE" && find docs -name '*.md' -o -path 'docs/assets/*.svg') | while read -r page; do
    put "$HERE/$page" 644 "$doc/$page"
done
put "$HERE/systemd/sipwatch.service" 644 /etc/systemd/system/sipwatch.service
put "$HERE/systemd/sipwatch-capture.service" \
    644 /etc/systemd/system/sipwatch-capture.service
put "$HERE/systemd/sipwatch.sysusers" 644 /usr/lib/sysusers.d/sipwatch.conf
put "$HERE/systemd/sipwatch.tmpfiles" 644 /usr/lib/tmpfiles.d/sipwatch.conf
put "$HERE/systemd/sipwatch.sysctl" 644 /usr/lib/sysctl.d/50-sipwatch.conf
mkdir -p "$DESTDIR/usr/local/bin" "$DESTDIR/etc/sipwatch"
ln -sfn "$PREFIX/bin/sipwatch" "$DESTDIR/usr/local/bin/sipwatch"
put "$HERE/configs/sipwatch.yaml" 644 /etc/sipwatch/sipwatch.example.yaml
"$venv/bin/python" -I -m sipwatch check-config --schema >"$copy/schema.json" &&
    put "$copy/schema.json" 644 /etc/sipwatch/sipwatch.schema.json
"$venv/bin/python" -I -m sipwatch.commands.manual >"$copy/sipwatch.1" &&
    put "$copy/sipwatch.1" 644 /usr/local/share/man/man1/sipwatch.1
"$venv/bin/python" -I -m sipwatch completion bash >"$copy/completion" &&
    put "$copy/completion" 644 /usr/share/bash-completion/completions/sipwatch
[ -e "$DESTDIR/etc/sipwatch/sipwatch.yaml" ] ||
    put "$HERE/configs/minimal.yaml" 640 /etc/sipwatch/sipwatch.yaml

if [ -n "$DESTDIR" ]; then
    mkdir -p -m 700 "$DESTDIR/etc/sipwatch/secrets"
    echo "Installed below $DESTDIR."
    exit 0
fi

# From the next start on by itself; now too, but nobody's larger value is made less.
limit=/proc/sys/net/core/rmem_max  # a container may have none
if [ -e $limit ] && [ "$(cat $limit)" -lt 4194304 ]; then
    sysctl -q -p /usr/lib/sysctl.d/50-sipwatch.conf ||
        echo "install: net.core.rmem_max stays as it is until the next start" >&2
fi

if command -v systemctl >/dev/null; then
    systemd-sysusers /usr/lib/sysusers.d/sipwatch.conf
    systemd-tmpfiles --create /usr/lib/tmpfiles.d/sipwatch.conf
    systemctl daemon-reload
else
    mkdir -p -m 700 /etc/sipwatch/secrets
    echo "No systemd here: run $PREFIX/bin/sipwatch run -c /etc/sipwatch/sipwatch.yaml"
fi

cat <<EOF
Installed in $PREFIX. Next:
  1. edit /etc/sipwatch/sipwatch.yaml (every key: /etc/sipwatch/sipwatch.example.yaml)
  2. a secret:  install -m 600 /dev/stdin /etc/sipwatch/secrets/hq-ami
  3. check it:  sudo sipwatch check-config
  4. start it:  sudo systemctl enable sipwatch && sudo systemctl restart sipwatch
  5. try it:    sudo sipwatch test-notify
  6. packets as evidence, if wanted:  sudo systemctl enable --now sipwatch-capture
EOF
