package cli

import (
	"context"
	"os/exec"
	"runtime"
)

// openBrowser shows url in the user's browser where there is a screen to show it on. That it cannot is no fault: the address is
// printed too.
func openBrowser(url string, env func(string) string) {
	var name string
	var args []string
	switch runtime.GOOS {
	case "darwin":
		name, args = "open", []string{url}
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	default:
		if env("DISPLAY") == "" && env("WAYLAND_DISPLAY") == "" {
			return
		}
		name, args = "xdg-open", []string{url}
	}
	// The browser lives on its own, perhaps longer than the node.
	cmd := exec.CommandContext(context.Background(), name, args...)
	if err := cmd.Start(); err != nil {
		return
	}
	_ = cmd.Process.Release()
}
