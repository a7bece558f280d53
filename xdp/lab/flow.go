package lab

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Flow is a row of finwait's GET /v1/flows, as far as it is compared. Nil
// stands for null.
type Flow struct {
	FlowID string `json:"flow_id"`
	Tuple
	OrientedBy    string     `json:"oriented_by"`
	VLAN          uint16     `json:"vlan_id"`
	Encapsulation Layers     `json:"encapsulation"`
	Interface     string     `json:"interface"`
	Evidence      string     `json:"evidence"`
	StartAt       *time.Time `json:"start_at"`
	SYNAt         *time.Time `json:"syn_at"`
	SYNACKAt      *time.Time `json:"syn_ack_at"`
	FIN1At        *time.Time `json:"fin1_at"`
	ACK1At        *time.Time `json:"ack1_at"`
	FIN2At        *time.Time `json:"fin2_at"`
	ACK2At        *time.Time `json:"ack2_at"`
	RSTAt         *time.Time `json:"rst_at"`
	RSTBy         Party      `json:"rst_by"`
	FINWait1NS    *int64     `json:"fin_wait_1_ns"`
	CloseWaitNS   *int64     `json:"close_wait_ns"`
	LastACKNS     *int64     `json:"last_ack_ns"`
	Counts
	ReuseAfterNS *int64 `json:"reuse_after_ns"`
	CloseKind    string `json:"close_kind"`
	Initiator    Party  `json:"close_initiator"`
	Complete     bool   `json:"close_complete"`
	EndReason    string `json:"end_reason"`
	Accounting   string `json:"accounting"`
	OtherSide
}

// ParseFlows reads the answer of GET /v1/flows.
func ParseFlows(answer []byte) ([]Flow, error) {
	var rows struct {
		Flows *[]Flow `json:"flows"`
	}
	if err := json.Unmarshal(answer, &rows); err != nil {
		return nil, fmt.Errorf("read flows: %w", err)
	}
	if rows.Flows == nil {
		return nil, fmt.Errorf("read flows: the answer has no %q", "flows")
	}
	return *rows.Flows, nil
}

// Layers is what was stripped from a flow's frames, outermost first, joined
// by commas. It is read from a JSON string and from an array of them.
type Layers string

// UnmarshalJSON implements json.Unmarshaler.
func (l *Layers) UnmarshalJSON(text []byte) error {
	var one *string
	if err := json.Unmarshal(text, &one); err == nil {
		*l = ""
		if one != nil {
			*l = Layers(*one)
		}
		return nil
	}
	var many []string
	if err := json.Unmarshal(text, &many); err != nil {
		return fmt.Errorf("read encapsulation: %w", err)
	}
	*l = Layers(strings.Join(many, ","))
	return nil
}
