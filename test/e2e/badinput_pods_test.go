package e2e_test

func commandInputs() []badInput {
	return []badInput{
		{
			name: "command-missing", what: "The command is not in the image", container: `command: [/bin/none]`,
			says: `RunContainerError: container app: …exec: "/bin/none": stat /bin/none: no such file or directory`, help: "Correct the command.",
		},
		{
			name: "command-plain", what: "The command is not executable", container: `command: [/etc/passwd]`,
			says: `RunContainerError: container app: …exec: "/etc/passwd": permission denied`, help: "Correct the command, or the file's mode in the image.",
		},
		{
			name: "command-directory", what: "The command is a directory", container: `command: [/etc]`,
			says: `RunContainerError: container app: …exec: "/etc": permission denied`, help: "Correct the command.",
		},
		{
			name: "command-other", what: "The command is a program for other machines", image: "hostile.example/good/other:1",
			says: "exec format error", help: "Build the image for this platform.",
		},
		{
			name: "command-fails", what: "The command fails", container: `command: [sh, -c, "echo the database is away; exit 3"]`,
			says: "CrashLoopBackOff: container app: back-off …: it ended with exit code 3: the database is away",
			help: "headway logs --previous has more than the last line.",
		},
		{
			name: "workdir-file", what: "The working directory is a file", container: `workingDir: /etc/passwd`,
			says: "RunContainerError: container app: …mkdir /etc/passwd: not a directory", help: "Correct workingDir.",
		},
		{
			name: "init-fails", what: "An init container fails",
			pod:  "initContainers: [{name: init, image: hostile.example/good/sound:1, command: [cat, /ready]}]",
			says: "CrashLoopBackOff: container init: back-off …: it ended with exit code 1: cat: can't open '/ready': No such file or directory",
			help: "The others wait for it: headway logs -c init.",
		},
		{
			name: "hook-fails", what: "The postStart hook fails",
			container: "lifecycle: {postStart: {exec: {command: [cat, /ready]}}}",
			says:      "it ended with exit code 137 after its postStart hook failed",
			help:      "What the hook said is among the events.",
		},
		{
			name: "probe-liveness", what: "Nobody listens at the port of the liveness probe",
			container: "livenessProbe: {tcpSocket: {port: 9}, periodSeconds: 1, failureThreshold: 1}",
			says:      "container app fails its liveness probe and is ended: liveness probe: dial tcp …:9: connect: connection refused",
			help:      "Correct the port, or give it time by a startup probe.",
		},
		{
			name: "probe-readiness", what: "The readiness probe fails",
			container: "readinessProbe: {exec: {command: [cat, /ready]}, periodSeconds: 1}",
			says:      "ContainersNotReady: container app: readiness probe: cat /ready ended with exit code 1: cat: can't open '/ready': No such file or directory",
			help:      "The pod gets no requests until it is ready.",
		},
	}
}

func limitInputs() []badInput {
	return []badInput{
		{
			name: "memory-start", what: "The memory limit is below what a start takes", container: `resources: {limits: {memory: 64Ki}}`,
			says: "RunContainerError: container app: …unable to set memory limit to 65536", help: "Take Mi or Gi: no program fits.",
		},
		{
			name: "memory-run", what: "The container takes more memory than its limit",
			container: "command: [tail, /dev/zero]\nresources: {limits: {memory: 16Mi}}",
			says:      "CrashLoopBackOff: container app: back-off …: it was killed: it went past its memory limit",
			help:      "Raise the limit, or have it take less (OOMKilled, in the JSON form).",
		},
		{
			name: "log-greedy", what: "The container's log takes more than its ephemeral storage",
			container: "command: [sh, -c, \"yes | head -c 64m; sleep 3600\"]\nresources: {limits: {ephemeral-storage: 8Mi}}",
			says:      "container app has written …, more than its limit of ephemeral-storage 8Mi",
			help:      "Raise the limit, or have it say less. Without a limit the oldest of the log goes.",
		},
		{
			name: "sidecar-greedy", what: "A sidecar writes more than its ephemeral storage",
			pod: `initContainers:
- {name: cache, image: hostile.example/good/sound:1, restartPolicy: Always, resources: {limits: {ephemeral-storage: 8Mi}}, command: [sh, -c, "head -c 16m /dev/zero >/big; sleep 3600"]}`,
			says: "container cache has written …, more than its limit of ephemeral-storage 8Mi",
			help: "The same. It holds for init containers too.",
		},
		{
			name: "seccomp-missing", what: "The seccomp profile is not on the node",
			container: "securityContext: {seccompProfile: {type: Localhost, localhostProfile: none.json}}",
			says:      "CreateContainerError: container app: …seccompProfile none.json: this node has no directory of profiles",
			help:      "Put it into the node's directory of profiles (headway node --seccomp-dir).",
		},
		{
			name: "sysctl-unsafe", what: "A sysctl could harm other pods",
			pod:  `securityContext: {sysctls: [{name: kernel.msgmax, value: "1"}]}`,
			says: "CreateContainerError: container app: …sysctl kernel.msgmax could harm other pods: those that pods can set are",
			help: "Set it on the machine.",
		},
	}
}

func configInputs() []badInput {
	return []badInput{
		{
			name: "secret-missing", what: "The secret is not there",
			container: "envFrom: [{secretRef: {name: nowhere}}]",
			says:      "Refused: bad/secret-missing.yaml:…: spec.containers[0].envFrom[0].secretRef.name: Secret/bad/nowhere is not declared",
			help:      "Declare it, or say optional: true.",
		},
		{
			name: "secret-key", what: "The secret has no such key",
			container: "env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: login, key: none}}}]",
			also:      secretManifest("login", "Opaque", "password: hunter2"),
			says:      `Refused: bad/secret-key.yaml:…: "none" is not a key of Secret/bad/login, which has password`,
			help:      "Correct the key.",
		},
		{
			name: "secret-unreadable", what: "The container's user may not read the secret",
			container: "command: [cat, /login/password]\nsecurityContext: {runAsUser: 65534}\nvolumeMounts: [{name: login, mountPath: /login}]",
			pod:       "volumes: [{name: login, secret: {secretName: login, defaultMode: 0400}}]",
			says:      "it ended with exit code 1: cat: can't open '/login/password': Permission denied",
			help:      "Set fsGroup, or another defaultMode.",
		},
		{
			name: "secret-sealed", what: "The node has lost the key that secrets are sealed to", loses: true,
			container: "env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: sealed, key: password}}}]",
			also:      secretManifest("sealed", "Opaque", "password: hunter2"),
			says:      "SealedAnew …node n1 has another key than its secrets were sealed to: they are sealed to that; it is not restarted",
			help:      "Nothing: the node has made a new key. Find out how the file seal.key in its data directory was lost.",
		},
		{
			name: "config-missing", what: "The config map is not there",
			container: "env: [{name: COLOUR, valueFrom: {configMapKeyRef: {name: nowhere, key: colour}}}]",
			says:      "Refused: bad/config-missing.yaml:…: spec.containers[0].env[0].valueFrom.configMapKeyRef.name: ConfigMap/bad/nowhere is not declared",
			help:      "Declare it, or say optional: true.",
		},
		{
			name: "config-key", what: "The config map has no such key",
			container: "volumeMounts: [{name: settings, mountPath: /settings}]",
			pod:       "volumes: [{name: settings, configMap: {name: settings, items: [{key: none, path: colour}]}}]",
			also:      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: bad}\ndata: {colour: red}",
			says:      `Refused: bad/config-key.yaml:…: "none" is not a key of ConfigMap/bad/settings, which has colour`,
			help:      "Correct the key.",
		},
	}
}

func secretManifest(name, kind, data string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: bad}\ntype: " + kind + "\nstringData: {" + data + "}"
}

func volumeInputs() []badInput {
	return []badInput{
		{
			name: "subpath-link", what: "A link in the volume leads its subPath out",
			container: "volumeMounts: [{name: work, mountPath: /work, subPath: out/etc}]",
			pod: `volumes: [{name: work, emptyDir: {}}]
initContainers: [{name: link, image: hostile.example/good/sound:1, command: [ln, -s, /, /work/out], volumeMounts: [{name: work, mountPath: /work}]}]`,
			says: "CreateContainerConfigError: container app: volumeMount /work: part out/etc of volume work: it leads out of the volume by a link",
			help: "Do not trust what made the link.",
		},
		{
			name: "hostpath-type", what: "The hostPath is not of its type",
			container: "volumeMounts: [{name: host, mountPath: /host}]",
			pod:       "volumes: [{name: host, hostPath: {path: /etc/passwd, type: Directory}}]",
			says:      "FailedMount: volume host: hostPath /etc/passwd is not of type Directory: its mode is -rw",
			help:      "Correct the path or its type; or choose nodes that have it.",
		},
		{
			name: "mount-file", what: "A directory is mounted on a file of the image",
			container: "volumeMounts: [{name: work, mountPath: /etc/passwd}]",
			pod:       "volumes: [{name: work, emptyDir: {}}]",
			says:      `RunContainerError: container app: …to rootfs at "/etc/passwd": …not a directory`,
			help:      "Mount a file, by subPath.",
		},
		{
			name: "claim-missing", what: "The claim is not there",
			container: "volumeMounts: [{name: data, mountPath: /data}]",
			pod:       "volumes: [{name: data, persistentVolumeClaim: {claimName: nowhere}}]",
			says:      "Refused: bad/claim-missing.yaml:…: spec.volumes[0].persistentVolumeClaim.claimName: PersistentVolumeClaim/bad/nowhere is not declared",
			help:      "Declare it.",
		},
		{
			name: "volume-full", what: "The pod fills its emptyDir beyond the limit",
			container: "command: [sh, -c, \"head -c 64m /dev/zero >/work/big; sleep 3600\"]\nvolumeMounts: [{name: work, mountPath: /work}]",
			pod:       "volumes: [{name: work, emptyDir: {sizeLimit: 8Mi}}]",
			says:      "emptyDir volume work holds …, more than its sizeLimit 8Mi",
			help:      "Raise the limit, or have the pod clean up.",
		},
	}
}

func machineInputs() []badInput {
	return []badInput{
		{
			name: "unschedulable", what: "No node has what the pod asks for",
			container: "resources: {requests: {memory: 100Ti}}",
			says:      "Pending: 0 of 3 nodes fit: …1 lacks memory (ask 100Ti, …",
			help:      "Ask for less, or add a node.",
		},
		{
			name: "image-bomb", what: "The disk of the images is full", image: "hostile.example/good/bomb:1",
			says: "ImagePullBackOff: container app: hostile.example/good/bomb:1: failed to extract layer …: no space left on device",
			help: "Free some; images that nobody uses go by themselves (headway node --image-gc-high-threshold).",
		},
		{
			name: "disk-full", what: "The disk of the node's own directory is full", node: fullNode,
			says: "FailedFetch: pod template …: no space left on device",
			help: "Free some. Pods that run there go on.",
		},
		{
			name: "disk-readonly", what: "The disk of the node's own directory can only be read", node: readOnlyNode,
			says: "FailedFetch: pod template …: read-only file system",
			help: "Look at the machine's kernel log. Pods that run there go on.",
		},
	}
}
