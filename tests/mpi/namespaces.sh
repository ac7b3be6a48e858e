#!/usr/bin/env bash
# namespaces.sh CABLE RANKS PROGRAM [ARGUMENT...]: runs PROGRAM on two hosts that this machine plays: two network namespaces
# with addresses and names of their own, joined by a cable of 1 Gbit/s and 1 ms each way: a veth pair on which tc sets both
# (netem), or, where the kernel has no netem, the program CABLE (cable.cc). Ranks talk over TCP alone, half of them on each
# host. Needs root, Open MPI (MPIRUN, else mpirun), iproute2. Everything is removed again.
#
# Ends with 77, a test that is skipped, where nobody may make namespaces.
set -euo pipefail
cable=$1 ranks=$2
shift 2
mpirun=${MPIRUN:-mpirun}
hosts=(lockstep-a lockstep-b)
addresses=(10.77.0.1 10.77.0.2)

say() { printf '== %s\n' "$*"; }
skip() {
  say "skipped: $*"
  exit 77
}
((EUID == 0)) || skip "only root makes network namespaces"
command -v ip >/dev/null && command -v tc >/dev/null || skip "there is no iproute2"

work=$(mktemp -d)
remove() {
  local host
  for host in "${hosts[@]}"; do ip netns delete "$host" 2>/dev/null || true; done
  [[ -z ${carrier-} ]] || kill "$carrier" 2>/dev/null || true
  rm -rf "$work"
}
trap remove EXIT
for host in "${hosts[@]}"; do
  ip netns add "$host" 2>"$work/why" || skip "no network namespaces: $(<"$work/why")"
done
in_host() { ip netns exec "${hosts[$1]}" "${@:2}"; }

kind="veth, netem"
ip link add cable netns "${hosts[0]}" type veth peer name cable netns "${hosts[1]}" 2>"$work/why" ||
  skip "no veth: $(<"$work/why")"
for i in 0 1; do
  in_host $i tc qdisc add dev cable root netem delay 1ms rate 1gbit limit 10000 2>"$work/why" || kind=tap
done
if [[ $kind == tap ]]; then
  in_host 0 ip link delete cable
  mkfifo "$work/ready"
  "$cable" "${hosts[@]}" 1000 1 >"$work/ready" &
  carrier=$!
  read -r <"$work/ready" || skip "the kernel has neither netem nor taps"
fi
for i in 0 1; do
  in_host $i ip link set lo up
  in_host $i ip address add "${addresses[i]}/24" dev cable
  in_host $i ip link set cable up
done
say "a cable of 1 Gbit/s and 1 ms each way ($kind)"

# What mpirun starts the other host's daemon with, in the place of ssh.
cat >"$work/agent" <<END
#!/usr/bin/env bash
host=\$1
shift
[[ \$host != ${addresses[1]} ]] || host=${hosts[1]}
exec ip netns exec "\$host" unshare --uts bash -c "hostname \$host && \$*"
END
chmod +x "$work/agent"

half=$(((ranks + 1) / 2))
time ip netns exec "${hosts[0]}" unshare --uts bash -c 'hostname "$1" && shift && exec "$@"' - "${hosts[0]}" \
  "$mpirun" --allow-run-as-root --bind-to none --oversubscribe --map-by node \
  --host "${addresses[0]}:$half,${addresses[1]}:$half" --mca plm rsh --mca plm_rsh_agent "$work/agent" \
  --mca oob_tcp_if_include cable --mca pml ob1 --mca btl self,tcp --mca btl_tcp_if_include cable \
  -n "$ranks" "$@"
for i in 0 1; do
  bytes=$(in_host $i cat /sys/class/net/cable/statistics/tx_bytes)
  say "${hosts[i]} has sent $((bytes / 1000)) kB over the cable"
  ((bytes > 10000)) || { say "FAILED: the ranks have not talked over it"; exit 1; }
done
