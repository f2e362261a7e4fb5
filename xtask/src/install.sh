# Installs Debian packages for tests: `sh -c "$(cat install.sh)" sh package…`, as root.
#
# Tests start the servers they need on ports of their own, so a package must not start its daemon:
# policy-rc.d is Debian's switch for that, and exit code 101 means "not allowed".
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get update --quiet
apt-get install --yes --quiet --no-install-recommends "$@"
