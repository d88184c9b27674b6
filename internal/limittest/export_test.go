package limittest

// HoldFor is Hold with another limit of time.
var HoldFor = hold
