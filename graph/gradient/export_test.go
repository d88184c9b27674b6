package gradient

// HasRule reports whether an operator has a gradient, Stops whether it stops gradients.
func HasRule(op string) bool {
	_, ok := ruleOf(op)
	return ok
}

func Stops(op string) bool { return zeroGradient[op] }
