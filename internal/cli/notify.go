package cli

import (
	"fmt"
	"net"
)

// envNotify names the socket on which a service manager waits for the word that the program it started is ready.
const envNotify = "NOTIFY_SOCKET"

// notifyReady says so on that socket, by the protocol of sd_notify(3). A name that begins with @ is in Linux's abstract
// namespace. Without a socket there is nobody to tell.
func notifyReady(socket string) error {
	if socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager at $%s: %w", envNotify, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("tell the service manager at $%s: %w", envNotify, err)
	}
	return nil
}
