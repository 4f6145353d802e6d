# Ends what runs in the folder $1, and removes it, as soon as standard input ends: when the process that holds the other
# end of the pipe has closed it, or is gone, by whatever signal.
trap '' HUP INT TERM
cat >/dev/null
cd /

# Everything that was started for the folder has its working directory there.
running() {
    find /proc -mindepth 2 -maxdepth 2 -name cwd \( -lname "$1" -o -lname "$1/*" \) -printf '%h\n' 2>/dev/null | sed 's|/proc/||'
}

tries=0
while pids=$(running "$1") && [ -n "$pids" ]; do
    case $tries in
        0) kill -QUIT $pids 2>/dev/null ;; # to a postmaster: immediate shutdown, which frees its shared memory
        100) kill -KILL $pids 2>/dev/null ;;
        200) break ;;
    esac
    tries=$((tries + 1))
    sleep 0.05
done
rm -rf "$1"
