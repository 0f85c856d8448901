package app

import "codex-proxy/creds"

// terminalAdvice says what to do about a sign-in, to somebody who types commands.
func terminalAdvice(store string) func(creds.Cause) string {
	signIn := "Run `codex-proxy login`"
	switch store {
	case "legacy":
		signIn = "Run `codex login`, or `codex-proxy login --codex`"
	case "env":
		signIn = "Put a new access token into ACCESS_TOKEN and start again"
	}
	return func(c creds.Cause) string {
		switch c {
		case creds.CauseNetwork:
			return "Check the network and the proxy settings; it is tried again by itself"
		case creds.CauseAuthServer, creds.CauseStoreBusy:
			return "It is tried again by itself"
		case creds.CauseStoreNotWritable:
			return "Make room on the disk, or make its folder writable; it is tried again by itself"
		case creds.CauseStoreUnreadable:
			return "Mend it, or " + lowerFirst(signIn)
		case creds.CauseClock:
			return "Set the clock"
		case creds.CauseConfiguration:
			return signIn + "; if it stays, update Codex Proxy"
		case creds.CauseIdentityOnly:
			return "Run `codex-proxy login` again and give leave to use the plan"
		case creds.CauseSpent, creds.CauseAnswerLost, creds.CauseEnded, creds.CauseRejected:
			return signIn + " to sign in again"
		}
		return signIn
	}
}

func lowerFirst(s string) string { return string(s[0]|0x20) + s[1:] }
