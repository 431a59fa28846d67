#!/usr/bin/env bash
# Builds the Debian package, with manual pages and completions.
#
#   scripts/package.sh            target/package/ringway_VERSION_ARCH.deb
#   scripts/package.sh --pages    manual pages and completions alone, in target/package
#   scripts/package.sh --check    the package; then it is installed in a Debian of its own (debootstrap), used, removed and purged; pages,
#                                 completions and the systemd unit are checked by the programs that read them
#
# cargo-deb is built once, into target/tools. --check needs root and some 300 MB, and takes a minute or two beside the builds.

source "$(dirname "$0")/common.sh"

pages_only='' check=''
for argument in "$@"; do
    case $argument in
        --pages) pages_only=1 ;;
        --check) check=1 ;;
        -h | --help) usage; exit 0 ;;
        *) say "${0##*/}: unknown argument '$argument'"; usage >&2; exit 2 ;;
    esac
done

out=target/package
built=${CARGO_TARGET_DIR:-target}/release/ringway
fails=0

# The commands, as the help lists them.
commands() { "$built" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z][-a-z]*\) .*/\1/p'; }

# pages: what `ringway man` and `ringway completions` print.
pages() {
    local command listed
    listed=$(commands)
    [[ -n $listed ]] || die "the help lists no commands"
    rm -rf "$out/man" "$out/completions"
    mkdir -p "$out/man" "$out/completions"
    "$built" man >"$out/man/ringway.1"
    for command in $listed; do
        "$built" man "$command" >"$out/man/ringway-$command.1"
    done
    "$built" completions bash >"$out/completions/ringway.bash"
    "$built" completions zsh >"$out/completions/_ringway"
    "$built" completions fish >"$out/completions/ringway.fish"
}

package() {
    local tools=${CARGO_TARGET_DIR:-target}/tools
    if [[ ! -x $tools/bin/cargo-deb ]]; then
        say "building cargo-deb"
        cargo install --quiet cargo-deb --locked --root "$tools" --target-dir "$tools/build"
    fi
    rm -f "$out"/*.deb
    "$tools/bin/cargo-deb" --no-build --output "$out/" >/dev/null
    deb=$(ls "$out"/*.deb)
}

# checked WHAT COMMAND...: says how it went.
checked() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        say "ok: $what"
    else
        fails=$((fails + 1))
        say "FAILED: $what"
        [[ -z $said ]] || say "$said"
    fi
}

# Every command that the help names has a page in the package, and every page is for one.
pages_are_whole() {
    diff <({ echo ringway; commands | sed 's/^/ringway-/'; } | sort) \
        <(dpkg --contents "$deb" | sed -n 's#.*/man1/\(.*\)\.1\.gz$#\1#p' | sort)
}

# Both readers, without a word of warning.
page_is_right() {
    local found
    found=$(mandoc -T lint -W warning "$1" 2>&1 || true)
    [[ -z $found ]] || { echo "$found"; return 1; }
    found=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$1" 2>&1 >/dev/null)
    [[ -z $found ]] || { echo "$found"; return 1; }
    [[ $(MANWIDTH=80 man -l "$1" 2>/dev/null | col -b | grep -c '^[A-Z]') -ge 3 ]] || { echo "it has no sections"; return 1; }
}

# bash, with the bash-completion package loaded as an interactive shell does: `ringway ser` becomes `ringway serve`.
bash_completes() {
    local completed
    # shellcheck disable=SC2016 # for the other shell
    completed=$(bash --norc --noprofile -c '
        source /usr/share/bash-completion/bash_completion
        source "$1"
        COMP_WORDS=(ringway ser) COMP_CWORD=1 COMP_LINE="ringway ser" COMP_POINT=11
        "$(complete -p ringway | sed "s/.* -F \([^ ]*\) .*/\1/")" ringway ser ringway
        printf "%s\n" "${COMPREPLY[@]}"' bash "$out/completions/ringway.bash")
    [[ $completed == serve ]] || { echo "it completes to '$completed'"; return 1; }
}

fish_completes() {
    local completed
    completed=$(fish --no-config -c "source $out/completions/ringway.fish; complete --do-complete 'ringway ser'" | cut -f1)
    [[ $completed == serve ]] || { echo "it completes to '$completed'"; return 1; }
}

# The unit as systemd reads it, with the program and the pages in their places.
unit_is_right() {
    local folder found
    folder=$(mktemp -d)
    sed "s#/usr/bin/ringway#$(realpath "$built")#; /^Documentation=/d" 'contrib/systemd/ringway@.service' >"$folder/ringway@.service"
    found=$(systemd-analyze verify "$folder/ringway@veth0.service" 2>&1) || true
    rm -r "$folder"
    [[ -z $found ]] || { echo "$found"; return 1; }
}

# How much of the machine the unit leaves to who takes it over: 10 is everything.
exposure() {
    systemd-analyze security --offline=yes 'contrib/systemd/ringway@.service' 2>/dev/null | sed -n 's/.*exposure level.*: \([0-9.]*\).*/\1/p'
}

unit_is_hardened() {
    local level
    level=$(exposure)
    awk -v level="$level" 'BEGIN { exit !(level > 0 && level < 3) }' || { echo "the exposure level is $level"; return 1; }
}

# What the filter of the unit lets through: its lists, and those they name, without what a later line takes away.
unit_calls() {
    local line name
    expand() {
        if [[ $1 == @* ]]; then
            systemd-analyze syscall-filter "$1" 2>/dev/null | sed -n '2,$s/^    \([-@a-z_0-9]*\)$/\1/p' | while read -r name; do expand "$name"; done
        else
            echo "$1"
        fi
    }
    local allowed=''
    while IFS= read -r line; do
        if [[ $line == '~'* ]]; then
            allowed=$(comm -23 <(echo "$allowed") <(for name in ${line#'~'}; do expand "$name"; done | sort -u))
        else
            allowed=$({ echo "$allowed"; for name in $line; do expand "$name"; done; } | sort -u)
        fi
    done < <(sed -n 's/^SystemCallFilter=//p' 'contrib/systemd/ringway@.service')
    echo "$allowed"
}

# lived ARGUMENT...: a server's life under strace, in two namespaces, from its start to a signal; the system calls go to $calls. Where it has a
# control socket, it reads its configuration again in between, and is scraped.
lived() {
    local here=rw-server-$$ there=rw-client-$$ pid answered=''
    end_namespaces "${namespaces[@]}"
    namespaces=("$here" "$there")
    add_namespace "$here"
    add_namespace "$there"
    join_namespaces "$here" veth0 "$there" veth1
    ip -n "$there" address add 10.0.0.1/24 dev veth1
    [[ -z ${with_address:-} ]] || ip -n "$here" address add 10.0.0.2/24 dev veth0
    # Nobody hears what it says to the manager; it says it all the same.
    NOTIFY_SOCKET="@rw-$$" WATCHDOG_USEC=200000 ip netns exec "$here" strace -f -qq -o "$calls" "$built" serve "$@" >"$out/strace.log" 2>&1 &
    pid=$!
    timeout 30 sh -c "until grep -q '^ready' $out/strace.log; do sleep 0.1; done" || { cat "$out/strace.log"; return 1; }
    ip netns exec "$there" curl -sf --max-time 10 http://10.0.0.2/Cargo.toml >/dev/null && answered=1
    if [[ -S $folder/control ]]; then
        "$built" reload --socket "$folder/control" >/dev/null || { cat "$out/strace.log"; return 1; }
        "$built" show counters --socket "$folder/control" >/dev/null || { cat "$out/strace.log"; return 1; }
        ip netns exec "$here" curl -sf --max-time 10 http://127.0.0.1:9464/metrics >/dev/null || { echo "no scrape under strace"; return 1; }
    fi
    ip netns pids "$here" | while read -r one; do [[ $(cat "/proc/$one/comm") != ringway ]] || kill -TERM "$one"; done
    wait "$pid" || { cat "$out/strace.log"; return 1; }
    [[ -n $answered ]] || { echo "no answer under strace"; return 1; }
}

# Two whole lives, of ports of the kernel's address and of an address of its own with all that the unit is for, and each system call looked up in
# the unit's.
unit_allows_every_call() {
    local calls folder missing said=0
    folder=$(mktemp -d)
    calls=$folder/calls
    printf 'services = ["http/tcp:80=.", "echo/udp:7"]\ndrain = "2s"\n[[interface]]\nname = "veth0"\naddresses = ["10.0.0.2/24"]\n' >"$folder/ringway.toml"
    {
        with_address=1 lived -i veth0 --claim tcp:80,udp:7 http/tcp:80=. echo/udp:7 --control off && mv "$calls" "$folder/first" \
            && lived -i veth0 --config "$folder/ringway.toml" --cores 0 --metrics 127.0.0.1:9464 --dump "$folder" --control "$folder/control"
    } || said=1
    end_namespaces "${namespaces[@]}"
    if [[ $said -eq 0 ]]; then
        missing=$(comm -23 <(sed -n 's/^[0-9]* *\([a-z_0-9]*\)(.*/\1/p' "$folder/first" "$calls" | sort -u) <(unit_calls))
        [[ -z $missing ]] || { echo "not among SystemCallFilter: $missing"; said=1; }
    fi
    rm -r "$folder"
    return "$said"
}

# inside COMMAND...: in the Debian of its own.
inside() { chroot "$root_folder" "$@"; }

# The one user and the files that the package brings, and that they are gone when it is purged.
installs_and_goes() {
    local version path before said contents
    before=$(cd "$root_folder" && find etc usr/bin usr/lib usr/share run -type f | sort)
    cp "$deb" "$root_folder/ringway.deb"
    inside dpkg --install /ringway.deb || return 1
    version=$(inside ringway --version) || return 1
    [[ $version == "ringway $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" ]] || { echo "version: $version"; return 1; }
    [[ $(stat -c '%U:%G %a' "$root_folder/usr/bin/ringway" | cut -d' ' -f2) == 750 ]] || { echo "anybody may run it"; return 1; }
    [[ $(inside getcap /usr/bin/ringway) == *'cap_net_bind_service,cap_net_admin,cap_net_raw,cap_ipc_lock,cap_bpf=ep' ]] \
        || { echo "capabilities: $(inside getcap /usr/bin/ringway)"; return 1; }
    # The capabilities reach a member of the group: it comes as far as the interface, which is not there.
    said=$(inside runuser -u ringway -- ringway serve -i none0 -a 10.0.0.2/24 echo:7 2>&1) && return 1
    [[ $said == *none0* && $said != *capabilit* ]] || { echo "as its user: $said"; return 1; }
    # Not by setpriv, which has root's capabilities until it has executed the program.
    ! inside runuser -u nobody -- ringway --version 2>/dev/null || { echo "nobody may run it"; return 1; }
    contents=$(dpkg --contents "$deb")
    for path in usr/lib/systemd/system/ringway@.service usr/share/bash-completion/completions/ringway \
        usr/share/zsh/vendor-completions/_ringway usr/share/fish/vendor_completions.d/ringway.fish \
        usr/share/man/man1/ringway.1.gz usr/share/man/man1/ringway-serve.1.gz usr/share/doc/ringway/copyright; do
        # dpkg of a minimal Debian may be told to leave pages and papers out.
        [[ $contents == *" ./$path"* ]] || { echo "missing: $path"; return 1; }
    done
    # Again, as an upgrade does.
    inside dpkg --install /ringway.deb || return 1
    [[ -n $(inside getcap /usr/bin/ringway) ]] || { echo "an upgrade loses the capabilities"; return 1; }
    # As `systemctl enable --now ringway@eth0` and a dump leave it.
    mkdir -p "$root_folder/etc/systemd/system/multi-user.target.wants" "$root_folder/var/lib/ringway"
    ln -s /usr/lib/systemd/system/ringway@.service "$root_folder/etc/systemd/system/multi-user.target.wants/ringway@eth0.service"
    inside dpkg --purge ringway || return 1
    [[ ! -L $root_folder/etc/systemd/system/multi-user.target.wants/ringway@eth0.service && ! -e $root_folder/var/lib/ringway ]] \
        || { echo "links or dumps are left"; return 1; }
    rm "$root_folder/ringway.deb"
    ! inside getent passwd ringway || { echo "its user is left"; return 1; }
    # Backups and locks of dpkg and adduser are theirs.
    diff <(echo "$before" | own_files) <(cd "$root_folder" && find etc usr/bin usr/lib usr/share run -type f | sort | own_files)
}

own_files() { grep -v -e '-$' -e '/dpkg/' -e '^run/adduser$'; }

debian_of_its_own() {
    local mirror
    mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\?\(https\?:[^ ]*\) .*/\2/p; s/^URIs: *\([^ ]*\).*/\1/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
    mirror=${mirror%%$'\n'*}
    root_folder=$(mktemp -d)
    # Its root is everybody's, as everywhere.
    chmod 0755 "$root_folder"
    say "making a Debian in $root_folder"
    debootstrap --variant=minbase --include=adduser,libcap2-bin "$(. /etc/os-release && echo "$VERSION_CODENAME")" \
        "$root_folder" "${mirror:-http://deb.debian.org/debian}" >"$out/debootstrap.log" 2>&1 \
        || { tail -n 5 "$out/debootstrap.log" >&2; die "debootstrap failed"; }
}

# shellcheck disable=SC2317 # called on exit
remove_all() {
    end_namespaces "${namespaces[@]}"
    [[ -z $root_folder ]] || rm -rf --one-file-system "$root_folder"
}

need_rust
cargo build --quiet --locked --release --bin ringway
pages
if [[ -n $pages_only ]]; then
    ls "$out/man" "$out/completions"
    exit 0
fi
package
say "$deb"
[[ -n $check ]] || exit 0

[[ $EUID -eq 0 ]] || die "--check makes a Debian of its own: run it as root"
need_commands mandoc=mandoc man=man-db col=bsdextrautils zsh=zsh fish=fish debootstrap=debootstrap systemd-analyze=systemd \
    strace=strace curl=curl ip=iproute2 ethtool=ethtool
[[ -r /usr/share/bash-completion/bash_completion ]] || need_commands bash_completion=bash-completion
root_folder='' namespaces=()
remove_on_exit remove_all

checked "the help names the commands that have pages" pages_are_whole
for page in "$out"/man/*.1; do
    checked "${page##*/} for mandoc and for man" page_is_right "$page"
done
checked "completions for bash" bash -n "$out/completions/ringway.bash"
checked "bash completes" bash_completes
checked "completions for zsh" zsh --no-rcs -n "$out/completions/_ringway"
checked "completions for fish" fish --no-config --no-execute "$out/completions/ringway.fish"
checked "fish completes" fish_completes
checked "the unit for systemd" unit_is_right
checked "the unit leaves little (exposure $(exposure) of 10)" unit_is_hardened
checked "the unit allows every system call of a server's life" unit_allows_every_call
debian_of_its_own
checked "the package is installed, used, upgraded and purged, and nothing is left" installs_and_goes
echo "package: $fails failed"
[[ $fails -eq 0 ]]
