# Sourced: packages of another Debian release, without root and without touching the system's apt.
# shellcheck shell=bash

debian_has_apt() {
    [ "$(uname -m)" = x86_64 ] && command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 &&
        grep -qs '^ID=debian$' /etc/os-release
}

# debian_mirrors: lines "RELEASE URI" of the Debian archives that this system is set up to use.
debian_mirrors() {
    # shellcheck disable=SC2016  # these dollars are apt's
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' | sort -u
}

# debian_sources SUITE: a sources.list for SUITE and its security updates, from the same mirrors as the system's.
debian_sources() {
    local codename main security
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    main=$(debian_mirrors | sed -nE "s/^($codename|stable|testing|unstable|sid) //p" | head -n 1)
    security=$(debian_mirrors | sed -nE "s/^($codename|stable|testing)-security //p" | head -n 1)
    [ -n "$main" ] || die "apt knows no Debian archive on this machine" "look at /etc/apt/sources.list and /etc/apt/sources.list.d"
    printf 'deb %s %s main\n' "$main" "$1"
    if [ -n "$security" ]; then printf 'deb %s %s-security main\n' "$security" "$1"; fi
}

# debian_apt BOX COMMAND...: apt-get with its configuration, lists, cache and status inside BOX.
debian_apt() {
    local box=$1
    shift
    (cd "$box/packages" && APT_CONFIG=$box/apt.conf apt-get -qq "$@")
}

# debian_unpack SUITE DEST PACKAGE...: downloads the packages and unpacks them into DEST.
debian_unpack() {
    local suite=$1 dest=$2 box package
    shift 2
    box=$HOST_DIR/.apt
    rm -rf "$box"
    mkdir -p "$box/lists/partial" "$box/cache/archives/partial" "$box/packages" "$dest"
    : >"$box/status"
    debian_sources "$suite" >"$box/sources.list"
    {
        # Of the system's configuration only how to reach the network.
        apt-config dump | grep -E '^Acquire::(http|https|Retries|ForceIPv[46])' || true
        printf '%s\n' 'Dir::Etc::main "/dev/null";' 'Dir::Etc::parts "/dev/null";' 'Dir::Etc::sourceparts "/dev/null";' \
            'Dir::Etc::preferences "/dev/null";' 'Dir::Etc::preferencesparts "/dev/null";' \
            "Dir::Etc::sourcelist \"$box/sources.list\";" "Dir::State \"$box\";" "Dir::State::lists \"$box/lists\";" \
            "Dir::State::status \"$box/status\";" "Dir::Cache \"$box/cache\";" 'Acquire::Languages "none";' \
            "APT::Sandbox::User \"$(id -un)\";"
    } >"$box/apt.conf"
    debian_apt "$box" update ||
        die "apt could not read the archive of Debian '$suite'" "is Debian's archive reachable from here?" \
            "where a key is missing: a newer debian-archive-keyring has it"
    debian_apt "$box" download "$@" || die "apt could not download from Debian '$suite'" "run this step again"
    for package in "$box/packages"/*.deb; do dpkg-deb -x "$package" "$dest"; done
    rm -rf "$box"
}
