/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Protocol headers as they stand on the wire, in network order. Declared here
 * so that the build depends on no kernel's copy of them.
 */
#ifndef FINWAIT_HEADERS_H
#define FINWAIT_HEADERS_H

#include <linux/types.h>

#define ETHER_TYPE_IPV4	   0x0800
#define ETHER_TYPE_IPV6	   0x86dd
#define ETHER_TYPE_VLAN	   0x8100 /* IEEE 802.1Q C-tag */
#define ETHER_TYPE_SERVICE 0x88a8 /* IEEE 802.1ad S-tag */
#define ETHER_TYPE_QINQ	   0x9100 /* S-tag of older equipment */
#define ETHER_TYPE_PPPOE   0x8864 /* session stage (RFC 2516) */

/* PPP protocol numbers (RFC 1332, RFC 5072). */
#define PPP_IPV4 0x0021
#define PPP_IPV6 0x0057

/* IANA protocol numbers; the others are extension headers of RFC 8200, RFC 4302 and RFC 6275. */
#define PROTO_HOP_BY_HOP  0
#define PROTO_TCP	  6
#define PROTO_ROUTING	  43
#define PROTO_FRAGMENT	  44
#define PROTO_AUTH	  51
#define PROTO_DESTINATION 60
#define PROTO_MOBILITY	  135

struct ether_header {
	__u8 destination[6];
	__u8 source[6];
	__be16 ether_type;
};

struct vlan_tag {
	__be16 control; /* the lower 12 bits are the identifier */
	__be16 ether_type;
};

/* RFC 2516 section 4, with the PPP protocol behind it. */
struct pppoe_header {
	__u8 version_type;
	__u8 code;
	__be16 session;
	__be16 length;
	__be16 protocol;
};

struct ipv4_header {
	__u8 version_words;
	__u8 traffic_class;
	__be16 total_length;
	__be16 identification;
	__be16 fragment; /* the lower 13 bits are the offset */
	__u8 hop_limit;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6_header {
	__be32 version_flow;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__be32 source[4];
	__be32 destination[4];
};

/* What all extension headers begin with; of a fragment header it is all. */
struct extension_header {
	__u8 next_header;
	__u8 length;
	__be16 fragment; /* the upper 13 bits are the offset */
	__be32 identification;
};

struct tcp_header {
	__be16 source;
	__be16 destination;
	__be32 seq;
	__be32 ack;
	__u8 data_offset; /* the upper 4 bits, in words of 4 octets */
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

#endif
