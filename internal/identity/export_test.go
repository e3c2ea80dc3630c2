package identity

import "net"

// RefusePrivate checks each address that keys are fetched from.
func RefusePrivate(address string) error { return refusePrivate("tcp", address, nil) }

// RefuseOutside is the same for addresses over http.
func RefuseOutside(address string) error { return refuseOutside("tcp", address, nil) }

// KeyDialer connects to the address of a provider's keys.
func KeyDialer(c *ProviderConfig) *net.Dialer { return keyDialer(c) }
