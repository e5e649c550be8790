#!/bin/bash
# README.md's own commands, taken from it word by word: the sections "Use by hand" and "What would it do?", and what is said of them.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

readme=$here/../../README.md
# The commands say `corten`: here that is $RUNTIME.
mkdir -p "$work/bin"
ln -s "$RUNTIME" "$work/bin/corten"
export PATH=$work/bin:$PATH
mkdir -p "$work/here"
cd "$work/here" || exit 1

# section TITLE: its text.
section() { awk -v title="## $1" '/^## / { on = $0 == title; next } on' "$readme"; }

# block TITLE N: the N-th indented block of a section, without its indent.
block() {
    section "$1" | awk -v wanted="$2" '/^    / { if (!in_block) n++; in_block = 1; if (n == wanted) print substr($0, 5); next } { in_block = 0 }'
}

# inline TITLE: the commands in the section's sentences.
inline() { section "$1" | grep -v '^    ' | tr '\n' ' ' | grep -o '`corten [^`]*`' | tr -d '`'; }

on_corten() { [ "$runtime_name" = corten ]; }
first_column() { awk -v name="$1" '$1 == name { print $0 }'; }
is_gone() { ! corten state "$1"; }

# What the extraction must have found, or nothing below would show anything.
readme_has_the_commands() {
    has "$(block 'Use by hand' 1)" 'corten run hello'
    has "$(block 'Use by hand' 2)" 'corten delete web'
    has "$(inline 'Use by hand')" 'corten features --probe'
    same 'corten plan' "$(block 'What would it do?' 1)"
    has "$(block 'What would it do?' 2)" 'attach a device program'
}

# The first block, up to the shell on a terminal, which is left with `exit 3`.
run_a_shell() {
    local line code=0 shown
    while IFS= read -r line; do
        case $line in
            'corten run hello'*)
                shown=$( (sleep 4; echo 'echo pid $$ on $(tty)'; sleep 2; echo 'exit 3'; sleep 4) | script -qec "$line" /dev/null) || code=$?
                same 3 "$code" "$line"
                has "$shown" 'pid 1 on /dev/' ;;
            *) eval "$line" ;;
        esac
    done < <(block 'Use by hand' 1)
    [ -n "${shown:-}" ]
    pwd > "$work/bundle"
    [ -f config.json ]
    corten list | grep -v -q hello
}

# The second block, line after line.
life() {
    local line shown seen=
    cd "$(cat "$work/bundle")"
    trap 'corten delete --force web > /dev/null 2>&1 || :' EXIT
    while IFS= read -r line; do
        case $line in
            'corten kill'*) sentences; refused ;;
            'corten delete'*) ;;
        esac
        # list writes the README's table.
        eval "$line" < /dev/null > "$work/shown"
        cat "$work/shown"
        shown=$(cat "$work/shown")
        case $line in
            'corten create'*) same created "$(status web)" ;;
            'corten list'*) table "$shown" ;;
            'corten start'*) same running "$(status web)" ;;
            'corten state'*) matches "$shown" '^\{.*"id": ?"web".*"status": ?"running".*\}$' ;;
            'corten exec'*) has "$shown" 'sleep 1000'; has "$shown" ps ;;
            'corten delete'*) until_ok 5 is_gone web ;;
        esac
        set -- $line
        seen+="$2 "
    done < <(block 'Use by hand' 2)
    same '-i create list start state exec kill delete ' "$seen"
    exits 1 corten state web
    same '' "$(corten list | first_column web)"
    [ ! -e "/proc/$(cat "$work/pid")" ]
}
pid_of() { corten state "$1" | grep -o '"pid": *[0-9]*' | tr -dc 0-9; }
status() { corten state "$1" | grep -o '"status": *"[a-z]*"' | tr -d '": ' | sed 's/status//'; }

# The columns of the table in README, and each value: a created container with its own namespaces and its pid.
table() {
    local row pid
    if [ "$runtime_name" != crun ]; then
        same "$(block 'Use by hand' 3 | head -n 1 | xargs)" "$(head -n 1 <<< "$1" | xargs)"
    fi
    row=$(first_column web <<< "$1")
    # shellcheck disable=SC2086 # its words
    set -- $row
    pid=$2
    same "web created $(pwd) root" "$1 $3 $4 ${!#}"
    matches "$5" '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T.*Z$'
    [ "$(readlink "/proc/$pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]
    echo "$pid" > "$work/pid"
}

# The commands in the sentences.
sentences() {
    local line shown
    while IFS= read -r line; do
        case $line in
            *--probe) on_corten || continue ;;
            'corten help run') on_corten || line='corten run --help' ;;
            'corten help') on_corten || line='corten --help' ;;
        esac
        shown=$(eval "$line")
        [ -n "$shown" ]
        case $line in
            'corten ps web') [ "$runtime_name" = crun ] || has "$shown" 'sleep 1000' ;;
            'corten features') has "$shown" ociVersionMin ;;
        esac
    done < <(inline 'Use by hand')
    shown=$(corten ps --format json web)
    has "$shown" "$(pid_of web)"
}

# "refused while a process lives"
refused() {
    exits 1 corten delete web
    same running "$(status web)"
}

# `--force kills`
force() {
    cd "$(cat "$work/bundle")"
    corten create forced < /dev/null > /dev/null 2>&1
    corten start forced
    local pid
    pid=$(pid_of forced)
    [ -e "/proc/$pid" ]
    corten delete --force forced
    is_gone forced
    [ ! -e "/proc/$pid" ]
}

plan() {
    local line
    needs 'plan, which only corten has' on_corten
    cd "$(cat "$work/bundle")"
    # "changes nothing": of the bundle, of the state, no cgroup.
    before=$(everything)
    eval "$(block 'What would it do?' 1)" > "$work/planned"
    # Every line of the excerpt is there, as it stands.
    while IFS= read -r line; do
        [ "$line" = … ] || grep -qxF -- "$line" "$work/planned" || { echo "not planned: <$line>"; cat "$work/planned"; exit 1; }
    done < <(block 'What would it do?' 2)
    corten plan --format json | grep -q '^[[{]'
    same "$before" "$(everything)"
    # "It needs no rights": an ordinary user, who has not even a cgroup of his own.
    chmod 755 "$work"
    install -d -m 777 "$work/here/his"
    cp -a rootfs "$work/here/his"
    cd "$work/here/his"
    setpriv --reuid 65534 --regid 65534 --clear-groups sh -ec "corten spec --rootless; $(block 'What would it do?' 1)" > "$work/as-nobody"
    grep -q 'make the root file system the root' "$work/as-nobody"
}
everything() { find "$work/here" /run/corten /sys/fs/cgroup -newer "$work/bundle" ! -path '*/cgroup.*' -printf '%p %s %T@\n' 2> /dev/null | grep -v '^/sys/fs/cgroup.*/[a-z]*\.[a-z.]* ' | sort; }

# "What this host cannot give stands above it, all of it at once."
plan_says_what_is_missing() {
    needs 'plan, which only corten has' on_corten
    cd "$(cat "$work/bundle")"
    needs 'a host without SELinux' test ! -e /sys/fs/selinux/enforce
    cp config.json kept
    trap 'mv kept config.json' EXIT
    sed -i -e 's/"linux": {/"linux": { "mountLabel": "a:b:c:s0",/' -e 's/"process": {/"process": { "selinuxLabel": "a:b:c:s0",/' config.json
    corten plan > "$work/planned" 2>&1 || :
    head -n 3 "$work/planned"
    same 'unsupported  ' "$(block 'What would it do?' 3 | cut -d / -f 1)"
    same "unsupported unsupported runtime" "$(awk 'NR <= 3 { print $1 }' "$work/planned" | xargs)"
    has "$(head -n 2 "$work/planned")" 'unsupported  /linux/mountLabel'
    has "$(head -n 2 "$work/planned")" 'unsupported  /process/selinuxLabel'
}

flow readme_has_the_commands
flow run_a_shell
flow life
flow force
flow plan
flow plan_says_what_is_missing
finish
