"""The hosted encoder under load, beside other model servers and a loop without any."""
