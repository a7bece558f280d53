/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whose a segment is: the control group of the socket that sent it, as long as the packet
 * still has its socket.
 */
#ifndef FINWAIT_OWNER_H
#define FINWAIT_OWNER_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "segment.h"

/* Tell whose segments are. */
const volatile __u8 owners = 0;

/* SOCK_STREAM of the kernel's linux/net.h. */
#define SOCKET_STREAM 1

/*
 * Returns the id of the control group (cgroup v2), 0 where there is no socket of a
 * connection. The kernel's own raw sockets, by which it refuses and answers for connections
 * that are over, are of whoever made the network namespace; and packets that a packet
 * socket, a tap or a raw socket sends are of no connection's. Of a SYN-ACK the socket is
 * a request, of which the group is its listener's. In TIME-WAIT there is none.
 */
static __always_inline __u64 owner_of(struct __sk_buff *ctx)
{
	struct bpf_sock *sk = ctx->sk, *full;

	if (!sk)
		return 0;
	full = bpf_sk_fullsock(sk);
	if (full ? full->type != SOCKET_STREAM : sk->state != BPF_TCP_NEW_SYN_RECV)
		return 0;
	return bpf_skb_cgroup_id(ctx);
}

/* Tells whose a segment is. */
static __always_inline void own(struct __sk_buff *ctx, struct owned_segment *s)
{
	s->owner = owner_of(ctx);
	if (s->owner)
		s->segment.marks |= SEGMENT_OWNED;
}

#endif
