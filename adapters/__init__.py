"""The outside, by protocol: translate, call one use case, translate back."""
