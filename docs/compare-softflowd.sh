#!/bin/bash
# What finwait costs beside softflowd, in CPU beyond what the same frames cost
# when they are dropped unseen. Needs root, finwait and Debian's softflowd:
#
#   apt-get install softflowd && make build
#   docs/compare-softflowd.sh
#
# The generator of 'finwait bench live' sends the same connections at the same
# rate into a program that drops everything, into finwait that counts, into
# finwait that accounts by sequence numbers, and into softflowd, in turns, ROUNDS
# times. The ratio is (finwait - drop) / (softflowd - drop), of the medians.
#
# process: CPU of finwait's threads and of softflowd as the scheduler gave it out,
#   with the softirqs on their time, which on a veth are the whole receiving side.
#   Other work on the machine hardly changes it.
# system: all CPUs but for their idle time, less what the machine does without
#   load. Means something on a machine with nothing else to do.
#
# A packet that softflowd is too slow for costs it nothing, so RATE must be one
# that it survives: its own count of drops is printed, and must be 0 for the
# ratio to be fair. At the end all of them get the full rate of one core.
set -euo pipefail

FINWAIT=${FINWAIT:-$(dirname "$0")/../bin/finwait}
RATE=${RATE:-200000}            # frames a second
PULSE=${PULSE:-20ms}            # how often they come: the generator's own cost is per pulse
ROUNDS=${ROUNDS:-5}
TRIAL=${TRIAL:-3s}
CONNECTIONS=${CONNECTIONS:-10k} # open at once
CONTROL=${CONTROL:-2%}          # SYN and FIN segments among all
FULL=${FULL:-yes}               # also compare at the full rate

die() { echo "compare-softflowd: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "root is needed for namespaces and BPF"
[ -x "$FINWAIT" ] || die "$FINWAIT is missing: run 'make build', or set FINWAIT"
for tool in softflowd softflowctl awk; do
	command -v $tool >/dev/null || die "$tool is missing: apt-get install softflowd gawk"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Without -m softflowd follows 8192 flows and throws older ones out. Nobody
# listens on the port that it exports to.
softflowd="softflowd -d -i {interface} -m 1000000 -n 127.0.0.1:9995 -p $work/pid -c $work/control"
statistics="softflowctl -c $work/control statistics"

# bench NAME RATE ARGUMENTS... measures once and leaves its output in $work/NAME.
bench() {
	local name=$1 rate=$2
	shift 2
	"$FINWAIT" bench live --connections "$CONNECTIONS" --control "$CONTROL" --rate "$rate" --pulse "$PULSE" \
		--trial "$TRIAL" "$@" >"$work/$name" 2>"$work/$name.err" ||
		{ cat "$work/$name.err" >&2; die "$name could not be measured"; }
}

# metric NAME UNIT prints one number of the last measurement of NAME.
metric() {
	awk -v unit="$2" '/^BenchmarkLive/ { for (i = 3; i < NF; i += 2) if ($(i + 1) == unit) print $i }' "$work/$1"
}

note() { metric "$1" process-cpu-s/Mframes >>"$work/$1.process"; metric "$1" system-cpu-s/Mframes >>"$work/$1.system"; }

receive() { # NAME RATE
	case $1 in
	drop) bench drop "$2" --receiver drop ;;
	counted) bench counted "$2" ;;
	sequence) bench sequence "$2" --accounting sequence ;;
	softflowd) bench softflowd "$2" --receiver none --exec "$softflowd" --exec-after "$statistics" ;;
	esac
}

median() { sort -g "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# dropped prints what the libpcap under softflowd did not get to see.
dropped() { grep -oE 'Packets (received|dropped) by (libpcap|interface): [0-9]+' "$work/softflowd" | tr '\n' ';'; }

names=(drop counted sequence softflowd)
for round in $(seq "$ROUNDS"); do
	for name in "${names[@]}"; do
		receive "$name" "$RATE"
		note "$name"
		printf 'round %d  %-9s  process %.3f  system %.3f  CPU seconds per million frames  (%.0f frames/s, %.3g lost)\n' "$round" "$name" \
			"$(metric "$name" process-cpu-s/Mframes)" "$(metric "$name" system-cpu-s/Mframes)" \
			"$(metric "$name" frames/s)" "$(metric "$name" lost/frame)"
		[ "$name" != softflowd ] || echo "         softflowd's own count: $(dropped)"
	done
done

echo
for of in process system; do
	for name in counted sequence; do
		awk -v of="$of" -v name="$name" -v drop="$(median "$work/drop.$of")" -v own="$(median "$work/$name.$of")" \
			-v other="$(median "$work/softflowd.$of")" 'BEGIN {
			printf "%-8s (finwait %s - drop) / (softflowd - drop) = (%.3f - %.3f) / (%.3f - %.3f) = ", of, name, own, drop, other, drop
			if (other - drop > 0) printf "%.2f\n", (own - drop) / (other - drop); else print "nothing: the machine is too busy to be measured"
		}'
	done
done

[ "$FULL" = yes ] || exit 0
echo
for name in "${names[@]}"; do
	receive "$name" full
	printf 'full rate  %-9s  %.0f frames/s, %.3g of them lost by finwait or on the way; process %.3f\n' "$name" \
		"$(metric "$name" frames/s)" "$(metric "$name" lost/frame)" "$(metric "$name" process-cpu-s/Mframes)"
done
echo "           softflowd's own count: $(dropped)"
