package lab

// Namespace names one of the network namespaces of a Network.
type Namespace uint8

// The namespaces, each but the hub with one interface.
const (
	Hub    Namespace = iota // the bridge and its ports
	Client                  // where connections are opened from
	Server                  // where they are accepted
	Tap                     // sees a copy of every frame

	namespaces = 4

	// Gateway stands in the middle in place of the hub, with an interface to either
	// side. There is no tap then.
	Gateway = Hub
)

func (n Namespace) String() string {
	return [...]string{"hub", "client", "server", "tap"}[n]
}
