/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a frame's octets to the fields of its TCP segment. The rules are those
 * of segment.Decode in Go, which has them as a table; a test runs both over
 * the same packets. What is neither IP nor TCP at first sight is for tunnel.h.
 */
#ifndef FINWAIT_PARSE_H
#define FINWAIT_PARSE_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "headers.h"
#include "segment.h"

#define MAX_VLAN_TAGS  4
#define MAX_EXTENSIONS 8

enum outcome {
	OUTCOME_TCP,
	OUTCOME_NOT_IP,
	OUTCOME_NOT_TCP,
	OUTCOME_FRAGMENT,
	OUTCOME_UNDECODABLE,
};

#define likely(condition) __builtin_expect(!!(condition), 1)

/*
 * The fields of a TCP segment, numbers in host order. No octet is left out, here
 * and in what follows: verifiers before Linux 6.3 let a global function have
 * nothing that was not written.
 */
struct packet {
	union address src;
	union address dst;
	__u16 src_port;
	__u16 dst_port;
	__u32 seq;
	__u32 ack;
	__u32 octets; /* IP header and payload */
	__u32 payload;
	__u16 vlan;
	__u8 tcp_flags;
	__u8 unused;
	struct encapsulation encapsulation;
};

/* Where the next headers stand, from the beginning of the frame, and what they are. */
struct position {
	__u32 ip;
	__u32 next; /* behind IP */
	__be16 ether_type;
	__u8 protocol; /* of next, where it is not TCP */
	__u8 unused;
};

static __always_inline int is_vlan(__be16 ether_type)
{
	return ether_type == bpf_htons(ETHER_TYPE_VLAN) ||
	       ether_type == bpf_htons(ETHER_TYPE_SERVICE) ||
	       ether_type == bpf_htons(ETHER_TYPE_QINQ);
}

/* Stands at a frame's header, and goes on to what is behind it. */
static __always_inline enum outcome parse_ethernet(const struct frame *f, struct position *at)
{
	struct ether_header *eth = f->data + at->ip;

	if ((void *)(eth + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	at->ether_type = eth->ether_type;
	at->ip += sizeof(*eth);
	return OUTCOME_TCP;
}

/* Goes on from the tags that are known, at most one. */
static __always_inline enum outcome parse_tags(const struct frame *f, struct position *at,
					       struct tags *tags)
{
	int known = tags->layer != LAYER_NONE;

#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		struct vlan_tag *tag = f->data + at->ip;

		if (!is_vlan(at->ether_type) || (known && i == MAX_VLAN_TAGS - 1))
			break;
		if ((void *)(tag + 1) > f->end)
			return OUTCOME_UNDECODABLE;
		if (i == 0 && !known)
			tags->outermost = bpf_ntohs(tag->control) & 0x0fff;
		tags->layer = i == 0 && !known ? LAYER_VLAN : LAYER_QINQ;
		at->ether_type = tag->ether_type;
		at->ip += sizeof(*tag);
	}
	return OUTCOME_TCP;
}

static __always_inline void map_ipv4(union address *a, __be32 ipv4)
{
	a->half[0] = 0;
	a->half[1] = (__u64)ipv4 << 32 | bpf_htonl(0x0000ffff);
}

static __always_inline enum outcome parse_ipv4(const struct frame *f, struct packet *p,
					       struct position *at)
{
	struct ipv4_header *ip = f->data + at->ip;
	__u32 length, total;

	if ((void *)(ip + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	length = (ip->version_words & 0x0f) * 4;
	if (ip->version_words >> 4 != 4 || length < sizeof(*ip))
		return OUTCOME_UNDECODABLE;
	at->next = at->ip + length;
	if (ip->protocol != PROTO_TCP) {
		at->protocol = ip->fragment & bpf_htons(0x1fff) ? PROTO_NONE : ip->protocol;
		return OUTCOME_NOT_TCP;
	}
	if (ip->fragment & bpf_htons(0x1fff))
		return OUTCOME_FRAGMENT;

	total = bpf_ntohs(ip->total_length);
	p->octets = total ? total : f->length - at->ip;
	map_ipv4(&p->src, ip->source);
	map_ipv4(&p->dst, ip->destination);
	return OUTCOME_TCP;
}

/* Walks the extension headers from the one numbered next, to the TCP header. */
static __always_inline enum outcome parse_extensions(const struct frame *f, struct position *at,
						     __u8 next)
{
	for (int i = 0; i <= MAX_EXTENSIONS; i++) {
		struct extension_header *extension = f->data + at->next;

		if (next == PROTO_TCP)
			return OUTCOME_TCP;
		if (next != PROTO_HOP_BY_HOP && next != PROTO_ROUTING && next != PROTO_FRAGMENT &&
		    next != PROTO_AUTH && next != PROTO_DESTINATION && next != PROTO_MOBILITY) {
			at->protocol = next;
			return OUTCOME_NOT_TCP;
		}
		if (i == MAX_EXTENSIONS || (void *)(extension + 1) > f->end)
			return OUTCOME_UNDECODABLE;

		if (next == PROTO_FRAGMENT) {
			at->protocol = PROTO_NONE;
			if (extension->fragment & bpf_htons(0xfff8))
				return extension->next_header == PROTO_TCP ? OUTCOME_FRAGMENT
									   : OUTCOME_NOT_TCP;
			at->next += sizeof(*extension);
		} else if (next == PROTO_AUTH) {
			at->next += (extension->length + 2) * 4;
		} else {
			at->next += (extension->length + 1) * 8;
		}
		next = extension->next_header;
	}
	return OUTCOME_UNDECODABLE;
}

static __always_inline enum outcome parse_ipv6(const struct frame *f, struct packet *p,
					       struct position *at)
{
	struct ipv6_header *ip = f->data + at->ip;
	__u32 length;

	if ((void *)(ip + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	if ((ip->version_flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return OUTCOME_UNDECODABLE;

	length = bpf_ntohs(ip->payload_length);
	p->octets = length ? sizeof(*ip) + length : f->length - at->ip;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		p->src.word[i] = ip->source[i];
		p->dst.word[i] = ip->destination[i];
	}
	at->next = at->ip + sizeof(*ip);
	return parse_extensions(f, at, ip->next_header);
}

static __always_inline enum outcome parse_tcp(const struct frame *f, struct packet *p,
					      const struct position *at)
{
	struct tcp_header *tcp = f->data + at->next;
	__u32 headers, length;

	if ((void *)(tcp + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	length = (tcp->data_offset >> 4) * 4;
	headers = at->next - at->ip + length;
	if (length < sizeof(*tcp) || p->octets < headers)
		return OUTCOME_UNDECODABLE;

	p->payload = p->octets - headers;
	p->src_port = bpf_ntohs(tcp->source);
	p->dst_port = bpf_ntohs(tcp->destination);
	p->seq = bpf_ntohl(tcp->seq);
	p->ack = bpf_ntohl(tcp->ack);
	p->tcp_flags = tcp->flags;
	return OUTCOME_TCP;
}

static __always_inline enum outcome parse_ip(const struct frame *f, struct packet *p,
					     struct position *at)
{
	enum outcome outcome;

	if (at->ether_type == bpf_htons(ETHER_TYPE_IPV4))
		outcome = parse_ipv4(f, p, at);
	else if (at->ether_type == bpf_htons(ETHER_TYPE_IPV6))
		outcome = parse_ipv6(f, p, at);
	else
		return OUTCOME_NOT_IP;
	if (outcome != OUTCOME_TCP)
		return outcome;
	return parse_tcp(f, p, at);
}

/*
 * Leaves in at where it stopped: what is not IP or not TCP may be a tunnel. Where at
 * has an ether type, the frame begins with what that announces.
 */
static __always_inline enum outcome parse(const struct frame *f, struct packet *p,
					  struct position *at, struct tags tags)
{
	enum outcome outcome = OUTCOME_TCP;

	if (!at->ether_type)
		outcome = parse_ethernet(f, at);
	if (outcome != OUTCOME_TCP)
		return outcome;
	outcome = parse_tags(f, at, &tags);
	if (outcome != OUTCOME_TCP)
		return outcome;
	p->vlan = tags.outermost;
	p->encapsulation.layers[0] = tags.layer;
	return parse_ip(f, p, at);
}

/*
 * The frames that come most often, at once: no tag, IPv4 without options or IPv6 without
 * extension headers, TCP, and the packet no longer than the frame, as far as that one's
 * length is known. The functions return 0 for every other frame, and for those of which
 * something is wrong: parse judges them.
 */
static __always_inline int parse_plain_tcp(const struct frame *f, struct packet *p,
					   const struct tcp_header *tcp, __u32 ip_length)
{
	__u32 headers = ip_length + (tcp->data_offset >> 4) * 4;

	if (headers < ip_length + sizeof(*tcp) || p->octets < headers ||
	    f->length < sizeof(struct ether_header) + p->octets)
		return 0;
	p->payload = p->octets - headers;
	p->src_port = bpf_ntohs(tcp->source);
	p->dst_port = bpf_ntohs(tcp->destination);
	p->seq = bpf_ntohl(tcp->seq);
	p->ack = bpf_ntohl(tcp->ack);
	p->tcp_flags = tcp->flags;
	return 1;
}

static __always_inline int parse_plain_ipv4(const struct frame *f, struct packet *p)
{
	struct ether_header *eth = f->data;
	struct ipv4_header *ip = (void *)(eth + 1);
	struct tcp_header *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > f->end)
		return 0;
	if (eth->ether_type != bpf_htons(ETHER_TYPE_IPV4) || ip->version_words != 0x45 ||
	    ip->protocol != PROTO_TCP || (ip->fragment & bpf_htons(0x1fff)))
		return 0;
	p->octets = bpf_ntohs(ip->total_length);
	map_ipv4(&p->src, ip->source);
	map_ipv4(&p->dst, ip->destination);
	return parse_plain_tcp(f, p, tcp, sizeof(*ip));
}

static __always_inline void copy_ipv6(union address *a, const __be32 *words)
{
	a->half[0] = (__u64)words[1] << 32 | words[0];
	a->half[1] = (__u64)words[3] << 32 | words[2];
}

static __always_inline int parse_plain_ipv6(const struct frame *f, struct packet *p)
{
	struct ether_header *eth = f->data;
	struct ipv6_header *ip = (void *)(eth + 1);
	struct tcp_header *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > f->end)
		return 0;
	if (eth->ether_type != bpf_htons(ETHER_TYPE_IPV6) || ip->next_header != PROTO_TCP ||
	    (ip->version_flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return 0;
	p->octets = sizeof(*ip) + bpf_ntohs(ip->payload_length);
	copy_ipv6(&p->src, ip->source);
	copy_ipv6(&p->dst, ip->destination);
	return parse_plain_tcp(f, p, tcp, sizeof(*ip));
}

#endif
