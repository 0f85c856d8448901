package codex

// FillIn are the instructions for completing text, for dialects that complete instead of chat.
const FillIn = "You complete text. Write only what comes at the gap marked <GAP>, so that it joins what stands before and after without repeating either. No explanation, no quotation marks, no code fence."

// Continue are the instructions for going on with a text.
const Continue = "You complete text. Write only the continuation of the user's text, from where it ends, without repeating it. No explanation, no quotation marks, no code fence."

// FillInPrompt is the text with its gap.
func FillInPrompt(before, after string) string { return before + "<GAP>" + after }
