//go:build ignore
// SPDX-License-Identifier: Dual BSD/GPL
//
// states reports every change of a TCP socket's state in the lab's namespaces,
// from the tracepoint sock:inet_sock_set_state.

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define AF_INET		     2
#define AF_INET6	     10
#define IPPROTO_TCP	     6
#define BPF_MAP_TYPE_RINGBUF 27

#define RING_OCTETS	     (4 << 20)
#define NAMESPACES	     2

/* What is read of the kernel's own structures; the loader finds the offsets
 * in the running kernel's BTF.
 */
#define KERNEL __attribute__((preserve_access_index))

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
} KERNEL;

struct ns_common {
	unsigned int inum;
} KERNEL;

struct net {
	struct ns_common ns;
} KERNEL;

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} KERNEL;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
} KERNEL;

/* state_change is one report. Addresses are in network order, IPv4 mapped
 * into IPv6; ports are numbers.
 */
struct state_change {
	__u64 at;
	__u64 cookie;
	__u8 local[16];
	__u8 remote[16];
	__u32 netns;
	__u16 local_port;
	__u16 remote_port;
	__u8 old_state;
	__u8 new_state;
	__u8 unused[6];
};

/* Keeps the type in the object, from where its Go form is made. */
const struct state_change *state_change_type __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_OCTETS);
} changes SEC(".maps");

/* The inode numbers of the namespaces to report. */
const volatile __u32 followed[NAMESPACES];

/* Reports that found no room in the ring. */
__u64 lost;

static __always_inline void map_ipv4(__u8 *to, __be32 from)
{
	__builtin_memset(to, 0, 10);
	to[10] = 0xff;
	to[11] = 0xff;
	__builtin_memcpy(to + 12, &from, 4);
}

static __always_inline void copy_ipv6(__u8 *to, const struct in6_addr *from)
{
	bpf_probe_read_kernel(to, 16, from);
}

static __always_inline void report(struct sock *sk, int old_state, int new_state)
{
	struct sock_common *common = &sk->__sk_common;
	__u32 netns = common->skc_net.net->ns.inum;
	struct state_change *change;
	__be16 remote_port;

	if (netns != followed[0] && netns != followed[1])
		return;
	if (sk->sk_protocol != IPPROTO_TCP)
		return;

	change = bpf_ringbuf_reserve(&changes, sizeof(*change), 0);
	if (!change) {
		__sync_fetch_and_add(&lost, 1);
		return;
	}
	change->at = bpf_ktime_get_ns();
	change->cookie = bpf_get_socket_cookie(sk);
	change->netns = netns;
	if (common->skc_family == AF_INET) {
		map_ipv4(change->local, common->skc_rcv_saddr);
		map_ipv4(change->remote, common->skc_daddr);
	} else {
		copy_ipv6(change->local, &common->skc_v6_rcv_saddr);
		copy_ipv6(change->remote, &common->skc_v6_daddr);
	}
	remote_port = common->skc_dport;
	change->local_port = common->skc_num;
	change->remote_port = __builtin_bswap16(remote_port);
	change->old_state = old_state;
	change->new_state = new_state;
	__builtin_memset(change->unused, 0, sizeof(change->unused));
	bpf_ringbuf_submit(change, 0);
}

/* The kernel does not run a tracing program on a CPU that is already running
 * it. Where an interrupt finds it at work in a system call and goes on to the
 * TCP timers, the changes of state that those make would go untold. So there
 * are two programs, one after the other: one interrupt finds at most one of
 * them at work, the other tells. Whoever reads drops the doubles.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(report_first, struct sock *sk, int old_state, int new_state)
{
	report(sk, old_state, new_state);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(report_second, struct sock *sk, int old_state, int new_state)
{
	report(sk, old_state, new_state);
	return 0;
}

char __license[] SEC("license") = "Dual BSD/GPL";
