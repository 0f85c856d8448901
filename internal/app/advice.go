package app

import (
	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
)

// advice says what to do, in the words of where it is read: in a terminal a command, with the icon a click.
type advice struct {
	signIn string // how to sign in
	icon   bool
	stays  bool // the program goes on, and tries again by itself what may go well later
}

func adviceFor(icon bool, store string) advice {
	a := advice{signIn: "Run `codex-proxy login`", icon: icon}
	switch {
	case store == "env":
		a.signIn = "Put a new access token into ACCESS_TOKEN and start again"
	case store == "legacy":
		a.signIn = "Run `codex login`, or `codex-proxy login`"
	case icon:
		a.signIn = "Click on \"Sign in…\" in the menu of Codex Proxy"
	}
	return a
}

// cause says what to do about the trouble of a sign-in.
func (a advice) cause(c creds.Cause) string {
	again := ", and try again"
	if a.stays {
		again = "; it is tried again by itself"
	}
	switch c {
	case creds.CauseNetwork:
		return "Check the network and the proxy settings" + again
	case creds.CauseAuthServer, creds.CauseStoreBusy:
		if a.stays {
			return "It is tried again by itself"
		}
		return "Try again in a minute"
	case creds.CauseStoreNotWritable:
		return "Make room on the disk, or make its folder writable" + again
	case creds.CauseStoreUnreadable:
		return "Mend it, or sign in anew. " + a.signIn
	case creds.CauseClock:
		return "Set the clock"
	case creds.CauseConfiguration:
		return a.signIn + "; if it stays, update Codex Proxy"
	case creds.CauseIdentityOnly:
		if a.icon {
			return "Choose \"Sign in with ChatGPT…\" in the menu of Codex Proxy again, and give leave to use the plan"
		}
		return "Run `codex-proxy login --chatgpt` again and give leave to use the plan, or `codex-proxy login` for the Codex sign-in"
	case creds.CauseSpent, creds.CauseAnswerLost, creds.CauseEnded, creds.CauseRejected:
		return a.signIn + " to sign in again"
	}
	return a.signIn
}

// remedy says how something is done that an error speaks of; empty for a terminal's words.
func (a advice) remedy(r codex.Remedy) string {
	switch r {
	case codex.RemedySignIn:
		return a.signIn
	case codex.RemedySignInCodex:
		if a.icon {
			return "Click on \"Sign in…\" in the menu of Codex Proxy, which signs in the Codex way"
		}
		return "Run `codex-proxy login`, which signs in the Codex way"
	case codex.RemedyAllowOrigin:
		if a.icon {
			return "Allow it in the menu of Codex Proxy, or start the proxy with --allow-origin"
		}
	case codex.RemedyPort, codex.RemedyPortTaken:
		if a.icon {
			return "Choose another port in the menu of Codex Proxy"
		}
	}
	return ""
}
