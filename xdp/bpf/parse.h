/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a frame's octets to the fields of its TCP segment. The rules are those
 * of segment.Decode in Go; a test runs both over the same packets.
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

/* The frame: its linear part, and the length of all of it. */
struct frame {
	void *data;
	void *end;
	__u32 length;
};

/* The fields of a TCP segment, numbers in host order. */
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
	__u8 layers[4]; /* enum layer, outermost first */
};

/* Where the next header stands, both from the beginning of the frame. */
struct position {
	__u32 ip;
	__u32 tcp;
};

static __always_inline int is_vlan(__be16 ether_type)
{
	return ether_type == bpf_htons(ETHER_TYPE_VLAN) ||
	       ether_type == bpf_htons(ETHER_TYPE_SERVICE) ||
	       ether_type == bpf_htons(ETHER_TYPE_QINQ);
}

/* Leaves the type behind the tags in ether_type and the IP header's place in at. */
static __always_inline enum outcome parse_link(const struct frame *f, struct packet *p,
					       struct position *at, __be16 *ether_type)
{
	struct ether_header *eth = f->data;
	__be16 next;

	if ((void *)(eth + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	next = eth->ether_type;
	at->ip = sizeof(*eth);

#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		struct vlan_tag *tag = f->data + at->ip;

		if (!is_vlan(next))
			break;
		if ((void *)(tag + 1) > f->end)
			return OUTCOME_UNDECODABLE;
		if (i == 0)
			p->vlan = bpf_ntohs(tag->control) & 0x0fff;
		p->layers[0] = i == 0 ? LAYER_VLAN : LAYER_QINQ;
		next = tag->ether_type;
		at->ip += sizeof(*tag);
	}
	*ether_type = next;
	return OUTCOME_TCP;
}

static __always_inline enum outcome parse_pppoe(const struct frame *f, struct packet *p,
						struct position *at, __be16 *ether_type)
{
	struct pppoe_header *session = f->data + at->ip;

	if ((void *)(session + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	if (session->version_type != 0x11 || session->code)
		return OUTCOME_NOT_IP;
	if (session->protocol == bpf_htons(PPP_IPV4))
		*ether_type = bpf_htons(ETHER_TYPE_IPV4);
	else if (session->protocol == bpf_htons(PPP_IPV6))
		*ether_type = bpf_htons(ETHER_TYPE_IPV6);
	else
		return OUTCOME_NOT_IP;
	p->layers[p->layers[0] ? 1 : 0] = LAYER_PPPOE;
	at->ip += sizeof(*session);
	return OUTCOME_TCP;
}

static __always_inline void map_ipv4(union address *a, __be32 ipv4)
{
	a->half[0] = 0;
	a->word[2] = bpf_htonl(0x0000ffff);
	a->word[3] = ipv4;
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
	if (ip->protocol != PROTO_TCP)
		return OUTCOME_NOT_TCP;
	if (ip->fragment & bpf_htons(0x1fff))
		return OUTCOME_FRAGMENT;

	total = bpf_ntohs(ip->total_length);
	p->octets = total ? total : f->length - at->ip;
	map_ipv4(&p->src, ip->source);
	map_ipv4(&p->dst, ip->destination);
	at->tcp = at->ip + length;
	return OUTCOME_TCP;
}

/* Walks the extension headers from the one numbered next, to the TCP header. */
static __always_inline enum outcome parse_extensions(const struct frame *f, struct position *at,
						     __u8 next)
{
	for (int i = 0; i <= MAX_EXTENSIONS; i++) {
		struct extension_header *extension = f->data + at->tcp;

		if (next == PROTO_TCP)
			return OUTCOME_TCP;
		if (next != PROTO_HOP_BY_HOP && next != PROTO_ROUTING && next != PROTO_FRAGMENT &&
		    next != PROTO_AUTH && next != PROTO_DESTINATION && next != PROTO_MOBILITY)
			return OUTCOME_NOT_TCP;
		if (i == MAX_EXTENSIONS || (void *)(extension + 1) > f->end)
			return OUTCOME_UNDECODABLE;

		if (next == PROTO_FRAGMENT) {
			if (extension->fragment & bpf_htons(0xfff8))
				return extension->next_header == PROTO_TCP ? OUTCOME_FRAGMENT
									   : OUTCOME_NOT_TCP;
			at->tcp += sizeof(*extension);
		} else if (next == PROTO_AUTH) {
			at->tcp += (extension->length + 2) * 4;
		} else {
			at->tcp += (extension->length + 1) * 8;
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
	at->tcp = at->ip + sizeof(*ip);
	return parse_extensions(f, at, ip->next_header);
}

static __always_inline enum outcome parse_tcp(const struct frame *f, struct packet *p,
					      const struct position *at)
{
	struct tcp_header *tcp = f->data + at->tcp;
	__u32 headers, length;

	if ((void *)(tcp + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	length = (tcp->data_offset >> 4) * 4;
	headers = at->tcp - at->ip + length;
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

static __always_inline enum outcome parse(const struct frame *f, struct packet *p)
{
	struct position at = {};
	enum outcome outcome;
	__be16 ether_type;

	outcome = parse_link(f, p, &at, &ether_type);
	if (outcome != OUTCOME_TCP)
		return outcome;
	if (ether_type == bpf_htons(ETHER_TYPE_PPPOE)) {
		outcome = parse_pppoe(f, p, &at, &ether_type);
		if (outcome != OUTCOME_TCP)
			return outcome;
	}
	if (ether_type == bpf_htons(ETHER_TYPE_IPV4))
		outcome = parse_ipv4(f, p, &at);
	else if (ether_type == bpf_htons(ETHER_TYPE_IPV6))
		outcome = parse_ipv6(f, p, &at);
	else
		return OUTCOME_NOT_IP;
	if (outcome != OUTCOME_TCP)
		return outcome;
	return parse_tcp(f, p, &at);
}

#endif
