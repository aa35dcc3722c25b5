module airgap.speech/sandbox/pause

go 1.26.0
