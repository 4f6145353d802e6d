# Sourced: fetch one pinned wheel from PyPI with the ordinary client and unpack it.
# shellcheck shell=bash

# fetch_wheel NAME==VERSION SHA256 PLATFORM PYTHON DEST_DIR
# The platform and Python are given, so that any python3 can fetch a wheel made for another one.
fetch_wheel() {
    local requirement=$1 sha256=$2 platform=$3 python=$4 dest=$5
    local box=$HOST_DIR/.wheel
    rm -rf "$box"
    mkdir -p "$box"
    printf '%s --hash=sha256:%s\n' "$requirement" "$sha256" >"$box/requirements.txt"
    if ! python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
        --only-binary=:all: --implementation cp --python-version "$python" --abi "cp$python" --abi none \
        --platform "$platform" --dest "$box" --requirement "$box/requirements.txt" >"$box/log" 2>&1; then
        cat "$box/log" >&2
        die "pip could not download $requirement" \
            "is PyPI reachable from here? pip's own settings (proxy, index) are honoured"
    fi
    python3 "$ROOT/.ci/setup/unpack_wheel.py" "$box"/*.whl "$dest"
    rm -rf "$box"
}
