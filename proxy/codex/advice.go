package codex

// Remedy names something that a person can do about an error.
type Remedy string

// The remedies that errors speak of.
const (
	RemedySignIn      Remedy = "sign_in"       // sign in again
	RemedySignInCodex Remedy = "sign_in_codex" // sign in the Codex way, which may do more than "Sign in with ChatGPT"
	RemedyBotCheck    Remedy = "bot_check"     // come from an address that ChatGPT's bot check lets pass
	RemedyNetwork     Remedy = "network"       // have a way to ChatGPT
	RemedyIdleTimeout Remedy = "idle_timeout"  // allow the backend a longer silence
	RemedyStrict      Remedy = "strict"        // have parameters dropped instead of refused
	RemedyAllowOrigin Remedy = "allow_origin"  // let a web page in
	RemedyAllowHost   Remedy = "allow_host"    // answer to another name
	RemedyAPIKey      Remedy = "api_key"       // give the proxy's own key to a tool
	RemedyPortTaken   Remedy = "port_taken"    // stop the other program, or listen on another port
	RemedyPort        Remedy = "port"          // listen on a port that any user may
	RemedyListen      Remedy = "listen"        // listen on another address
)

// Advice gives the words for a remedy, which differ with where a person meets it: a terminal, a menu, a Worker's
// dashboard. They are a whole sentence without its full stop. An empty answer, or a nil Advice, means those for a
// terminal. It must be safe for concurrent use.
type Advice func(Remedy) string

var terminalAdvice = map[Remedy]string{
	RemedySignIn:      "Run `codex-proxy login`",
	RemedySignInCodex: "Run `codex-proxy login`, which signs in the Codex way",
	RemedyBotCheck:    "Open chatgpt.com in a browser on the same network, switch off a VPN, then send the request again",
	RemedyNetwork:     "Check the network and the proxy settings",
	RemedyIdleTimeout: "Send the request again, or raise --idle-timeout",
	RemedyStrict:      "Leave it out, or run codex-proxy without --strict",
	RemedyAllowOrigin: "To allow it, start the proxy with --allow-origin",
	RemedyAllowHost:   "To use another name for it, start it with --allow-host",
	RemedyAPIKey:      "Set one as the API key in your tool: one that `codex-proxy keys add NAME` makes, or that was given with --api-key, not OpenAI's",
	RemedyPortTaken:   "Stop it, or choose another port with --port",
	RemedyPort:        "Choose one above 1023 with --port",
	RemedyListen:      "Choose another address with --listen",
}

// For returns the words for a remedy.
func (a Advice) For(r Remedy) string {
	if a != nil {
		if words := a(r); words != "" {
			return words
		}
	}
	return terminalAdvice[r]
}
