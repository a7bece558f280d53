package xdp

import "testing"

// TestSequenceConnection follows one connection from SYN to the last acknowledgement.
func TestSequenceConnection(t *testing.T) {
	r := newRunner(t, 100, programOptions{sequence: true})
	r.play(t,
		step{client(syn, 1000, 0, 0), "passed", 0},
		step{server(syn|ack, 5000, 1001, 0), "passed", 0},
		step{client(ack, 1001, 5001, 0), "passed", 0},
		step{client(ack, 1001, 5001, 100), "counted", 0},
		step{server(ack, 5001, 1101, 1400), "counted", 0},
		step{client(fin|ack, 1101, 7001, 10), "passed", 0},
		step{server(ack, 7001, 1111, 0), "counted", 0}, // the data, not the FIN
		step{server(ack, 7001, 1112, 50), "passed", 0},
		step{server(ack, 7051, 1112, 50), "counted", 0},
		step{server(fin|ack, 7101, 1112, 0), "passed", 0},
		step{client(ack, 1112, 7102, 0), "passed", 0},
		step{client(ack, 1112, 7102, 0), "counted", 0},
	)
}
