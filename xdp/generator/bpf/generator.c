//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The generator: every run of it under BPF_PROG_RUN with live frames writes the
 * next segment of the next connection of a window, and sends it out of an
 * interface.
 *
 * A connection is a function of its number: addresses, ports and initial
 * sequence numbers follow from it, and any other field from how many segments it
 * has sent. So a slot of the window need not remember more than that, and whoever
 * reads the other end can tell what must have been there.
 *
 * One CPU runs this at a time: nothing here is atomic.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "../../bpf/headers.h"

#define ETHER_MINIMUM 60 /* octets of a frame without its check sequence */
#define ETHER_OCTETS  14
#define IPV4_OCTETS   20
#define IPV6_OCTETS   40
#define TCP_OCTETS    20
#define HOP_LIMIT     64
#define WINDOW	      65535
#define BLOCK	      1024 /* slots */
#define SERVER_PORT   443

#define FLAG_FIN      0x01
#define FLAG_SYN      0x02
#define FLAG_PSH      0x08
#define FLAG_ACK      0x10

/* What a connection sends, in this order. */
enum step {
	STEP_SYN,
	STEP_SYN_ACK,
	STEP_ACK,
	STEP_DATA,
	STEP_FIN1,
	STEP_ACK1,
	STEP_FIN2,
	STEP_ACK2,
	STEP_OVER,
	STEPS = STEP_OVER,
};

/* What the window does as a whole. */
enum mode {
	MODE_FILL,  /* open one connection in each slot, and go no further */
	MODE_LOAD,  /* go on, and open another wherever one has closed */
	MODE_DRAIN, /* close all */
};

enum closer {
	CLOSER_CLIENT,
	CLOSER_SERVER,
	CLOSER_ALTERNATE, /* the client where the connection's number is even */
};

struct slot {
	__u32 connection;
	__u32 data; /* segments it has to send */
	__u32 sent; /* of these */
	__u32 step;
};

struct state {
	/* User space sets these, between two runs. */
	__u64 limit; /* frames that may have been made in all */
	__u64 last;  /* connections that may be opened in all */
	__u32 mode;
	__u32 cursor;
	/* The program counts. */
	__u64 opened;
	__u64 closed;
	__u64 frames[STEPS];
	__u64 octets; /* of frames, without their check sequence */
	__u64 payload;
	__u64 made;	  /* sum of frames */
	__u64 block_made; /* of these, when a block of slots was last gone through */
	__u64 failed;	  /* frames that could not be cut to their length */
	/* The tracepoint counts: what became of frames at the device. */
	__u64 sent;
	__u64 refused;
};

/* Keeps the types in the object, from where their Go forms are made. */
const struct slot *slot_type __attribute__((unused));
const struct state *state_type __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} states SEC(".maps");

/* Fixed when the program is loaded. */
const volatile __u32 interface;
const volatile __u32 network_namespace; /* inode number of the interface's */
const volatile __u32 slot_count;
const volatile __u32 data_segments; /* of one connection */
const volatile __u32 data_payload;  /* octets of one data segment */
const volatile __u32 seed;
const volatile __u32 multiplier;
const volatile __u8 ipv6;
const volatile __u8 closer;
const volatile __u8 source_mac[6];
const volatile __u8 destination_mac[6];

/* One segment to be written. */
struct outgoing {
	__u32 tuple;
	__u32 seq;
	__u32 ack;
	__u32 payload;
	__u8 tcp_flags;
	__u8 by_server;
};

/* Initial sequence numbers: multiplication spreads them over all 32 bits. */
static __always_inline __u32 client_isn(__u32 tuple)
{
	return tuple * 0x9e3779b1 + seed;
}

static __always_inline __u32 server_isn(__u32 tuple)
{
	return (tuple + 0x5bd1e995) * 0x85ebca6b;
}

static __always_inline void write_ether(struct ether_header *e, __u16 ether_type)
{
	for (int i = 0; i < 6; i++) {
		e->destination[i] = destination_mac[i];
		e->source[i] = source_mac[i];
	}
	e->ether_type = bpf_htons(ether_type);
}

static __always_inline void write_tcp(struct tcp_header *tcp, const struct outgoing *o)
{
	__be16 client = bpf_htons(0x8000 | (o->tuple & 0x7fff));
	__be16 server = bpf_htons(SERVER_PORT);

	tcp->source = o->by_server ? server : client;
	tcp->destination = o->by_server ? client : server;
	tcp->seq = bpf_htonl(o->seq);
	tcp->ack = bpf_htonl(o->ack);
	tcp->data_offset = TCP_OCTETS / 4 << 4;
	tcp->flags = o->tcp_flags;
	tcp->window = bpf_htons(WINDOW);
	tcp->checksum = 0;
	tcp->urgent = 0;
}

static __always_inline __u32 client_host(__u32 tuple)
{
	return tuple >> 15 & 0xffff;
}

static __always_inline __u32 server_host(__u32 tuple)
{
	return 1 + (tuple >> 7 & 0x3f);
}

/* RFC 1071 over the words of the header, which but for these are constants. */
static __always_inline __be16 ipv4_checksum(__u32 length, __u32 source, __u32 destination)
{
	__u32 sum = 0x4500 + length + 0x4000 + (HOP_LIMIT << 8 | PROTO_TCP);

	sum += (source >> 16) + (source & 0xffff) + (destination >> 16) + (destination & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum += sum >> 16;
	return bpf_htons(~sum);
}

/* Returns the TCP header behind it; NULL where the frame has no room. */
static __always_inline struct tcp_header *write_ipv4(void *data, void *end,
						     const struct outgoing *o)
{
	struct ipv4_header *ip = data + ETHER_OCTETS;
	__u32 client = 198u << 24 | 18 << 16 | client_host(o->tuple); /* RFC 2544 */
	__u32 server = 198u << 24 | 19 << 16 | server_host(o->tuple);
	__u32 source = o->by_server ? server : client;
	__u32 destination = o->by_server ? client : server;
	__u32 length = IPV4_OCTETS + TCP_OCTETS + o->payload;

	if ((void *)(ip + 1) + TCP_OCTETS > end)
		return NULL;
	write_ether(data, ETHER_TYPE_IPV4);
	ip->version_words = 4 << 4 | IPV4_OCTETS / 4;
	ip->traffic_class = 0;
	ip->total_length = bpf_htons(length);
	ip->identification = 0; /* not fragmented (RFC 6864) */
	ip->fragment = bpf_htons(0x4000);
	ip->hop_limit = HOP_LIMIT;
	ip->protocol = PROTO_TCP;
	ip->checksum = ipv4_checksum(length, source, destination);
	ip->source = bpf_htonl(source);
	ip->destination = bpf_htonl(destination);
	return (void *)(ip + 1);
}

/* In 2001:2::/48, which is for benchmarks (RFC 5180). */
static __always_inline void write_ipv6_address(__be32 *words, __u32 subnet, __u32 host)
{
	words[0] = bpf_htonl(0x20010002);
	words[1] = bpf_htonl(subnet);
	words[2] = 0;
	words[3] = bpf_htonl(host);
}

static __always_inline struct tcp_header *write_ipv6(void *data, void *end,
						     const struct outgoing *o)
{
	struct ipv6_header *ip = data + ETHER_OCTETS;
	__u32 client = client_host(o->tuple), server = server_host(o->tuple);

	if ((void *)(ip + 1) + TCP_OCTETS > end)
		return NULL;
	write_ether(data, ETHER_TYPE_IPV6);
	ip->version_flow = bpf_htonl(6u << 28);
	ip->payload_length = bpf_htons(TCP_OCTETS + o->payload);
	ip->next_header = PROTO_TCP;
	ip->hop_limit = HOP_LIMIT;
	write_ipv6_address(ip->source, o->by_server ? 2 : 1, o->by_server ? server : client);
	write_ipv6_address(ip->destination, o->by_server ? 1 : 2, o->by_server ? client : server);
	return (void *)(ip + 1);
}

static __always_inline int write_frame(struct xdp_md *ctx, const struct outgoing *o)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct tcp_header *tcp;

	tcp = ipv6 ? write_ipv6(data, end, o) : write_ipv4(data, end, o);
	if (!tcp)
		return -1;
	write_tcp(tcp, o);
	return 0;
}

static __always_inline int closed_by_server(__u32 connection)
{
	return closer == CLOSER_ALTERNATE ? connection & 1 : closer == CLOSER_SERVER;
}

/* Writes the fields of a slot's present step. The client sends the first data
 * segment, and then the two take turns.
 */
static __always_inline void compose(const struct slot *s, struct outgoing *o)
{
	__u32 client_next, server_next;
	__u32 from_client = (s->sent + 1) / 2, from_server = s->sent / 2;
	__u8 last = closed_by_server(s->connection);

	o->tuple = (s->connection * multiplier + seed) & 0x7fffffff;
	client_next = client_isn(o->tuple);
	server_next = server_isn(o->tuple);
	o->payload = 0;
	o->tcp_flags = FLAG_ACK;
	o->by_server = 0;
	if (s->step > STEP_SYN)
		client_next += 1 + from_client * data_payload;
	if (s->step > STEP_SYN_ACK)
		server_next += 1 + from_server * data_payload;
	switch (s->step) {
	case STEP_SYN:
		o->tcp_flags = FLAG_SYN;
		o->seq = client_next;
		o->ack = 0;
		return;
	case STEP_SYN_ACK:
		o->tcp_flags = FLAG_SYN | FLAG_ACK;
		o->by_server = 1;
		break;
	case STEP_DATA:
		o->tcp_flags = FLAG_ACK | FLAG_PSH;
		o->payload = data_payload;
		o->by_server = s->sent & 1;
		break;
	case STEP_FIN1:
		o->tcp_flags = FLAG_ACK | FLAG_FIN;
		o->by_server = last;
		break;
	case STEP_FIN2:
		o->tcp_flags = FLAG_ACK | FLAG_FIN;
		/* fallthrough */
	case STEP_ACK1:
		o->by_server = !last;
		break;
	case STEP_ACK2:
		o->by_server = last;
		break;
	}
	/* A FIN takes one number of its sender's once it has been sent. */
	if (s->step > STEP_FIN1 && last || s->step > STEP_FIN2 && !last)
		server_next++;
	if (s->step > STEP_FIN1 && !last || s->step > STEP_FIN2 && last)
		client_next++;
	o->seq = o->by_server ? server_next : client_next;
	o->ack = o->by_server ? client_next : server_next;
}

/* Begins a connection in a slot. The first ones have data for a part of what a
 * whole one takes, spread evenly and out of step with their neighbours, so that
 * the window never closes all at once.
 */
static __always_inline int begin(struct state *st, struct slot *s, __u32 index)
{
	if (st->mode == MODE_DRAIN || st->opened >= st->last) {
		s->step = STEP_OVER;
		return -1;
	}
	s->connection = st->opened++;
	s->sent = 0;
	s->data = data_segments;
	if (st->mode == MODE_FILL)
		s->data = (__u64)(index * 2654435769u) * (data_segments + STEPS - 1) >> 32;
	return 0;
}

/* Moves a slot on past the segment that it has sent. */
static __always_inline void advance(struct state *st, struct slot *s)
{
	switch (s->step) {
	case STEP_DATA:
		s->sent++;
		if (s->sent >= s->data)
			s->step = STEP_FIN1;
		return;
	case STEP_ACK:
		s->step = s->data ? STEP_DATA : STEP_FIN1;
		return;
	case STEP_ACK2:
		st->closed++;
		s->step = STEP_SYN;
		return;
	default:
		s->step++;
	}
}

static __always_inline int cut(struct xdp_md *ctx, __u32 length)
{
	__u32 now = ctx->data_end - ctx->data;

	if (length < ETHER_MINIMUM)
		length = ETHER_MINIMUM;
	if (length == now)
		return 0;
	return bpf_xdp_adjust_tail(ctx, (int)length - (int)now);
}

/* Slots take turns. They are drained one block after the other, so that there are
 * never more FINs without an answer than there would be on a real network.
 */
static __always_inline __u32 next_slot(struct state *st, __u32 index)
{
	__u32 next = index + 1;

	if (st->mode == MODE_DRAIN && (next % BLOCK == 0 || next == slot_count) &&
	    st->made != st->block_made) {
		st->block_made = st->made;
		return index / BLOCK * BLOCK;
	}
	return next < slot_count ? next : 0;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct outgoing o = {};
	__u32 zero = 0, index, length;
	struct state *st;
	struct slot *s;

	st = bpf_map_lookup_elem(&states, &zero);
	if (!st || st->made >= st->limit)
		return XDP_DROP;
	index = st->cursor;
	st->cursor = next_slot(st, index);
	s = bpf_map_lookup_elem(&slots, &index);
	if (!s || s->step >= STEPS)
		return XDP_DROP;
	if (st->mode == MODE_DRAIN && s->step == STEP_DATA)
		s->step = STEP_FIN1;
	if (st->mode == MODE_FILL && s->step > STEP_ACK)
		return XDP_DROP;
	if (s->step == STEP_SYN && begin(st, s, index))
		return XDP_DROP;

	compose(s, &o);
	length = ETHER_OCTETS + (ipv6 ? IPV6_OCTETS : IPV4_OCTETS) + TCP_OCTETS + o.payload;
	if (cut(ctx, length) || write_frame(ctx, &o)) {
		st->failed++;
		return XDP_DROP;
	}
	st->frames[s->step & (STEPS - 1)]++;
	st->octets += length < ETHER_MINIMUM ? ETHER_MINIMUM : length;
	st->payload += o.payload;
	st->made++;
	advance(st, s);
	return bpf_redirect(interface, 0);
}

/* What is read of the kernel's own structures; the loader finds the offsets in
 * the running kernel's BTF.
 */
#define KERNEL __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} KERNEL;

struct net {
	struct ns_common ns;
} KERNEL;

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	int ifindex;
	possible_net_t nd_net;
} KERNEL;

/* What the device's driver took of a bulk, and what it did not. */
SEC("tp_btf/xdp_devmap_xmit")
int BPF_PROG(watch, const struct net_device *from, const struct net_device *to, int sent, int drops,
	     int err)
{
	struct state *st;
	__u32 zero = 0;

	if (to->ifindex != interface || to->nd_net.net->ns.inum != network_namespace)
		return 0;
	st = bpf_map_lookup_elem(&states, &zero);
	if (!st)
		return 0;
	st->sent += sent;
	st->refused += drops;
	return 0;
}

/* The other end of a comparison: takes every frame and looks at none. */
SEC("xdp")
int discard(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* Lets every frame go on to the machine's network stack. */
SEC("xdp")
int deliver(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
