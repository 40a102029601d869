package e2e_test

func nameInputs() []badInput {
	return []badInput{
		{
			name: "missing-image", what: "There is no such image", image: "hostile.example/good/none:1",
			says: "ImagePullBackOff: container app: hostile.example/good/none:1: …: not found", help: "Correct the name, or push the image.",
		},
		{
			name: "missing-tag", what: "The image has no such tag", image: "hostile.example/good/app:2",
			says: "ImagePullBackOff: container app: hostile.example/good/app:2: …: not found", help: "Correct the tag, or push it.",
		},
		{
			name: "missing-digest", what: "The image has no such digest",
			image: "hostile.example/good/app@sha256:0000000000000000000000000000000000000000000000000000000000000000",
			says:  "ImagePullBackOff: container app: hostile.example/good/app@sha256:0000…: not found",
			help:  "Take the digest that the push printed; the registry may have removed an older one.",
		},
		{
			name: "bad-name", what: "No image can have that name", image: "hostile.example/good/App:1",
			says: `Refused: bad/bad-name.yaml:…: spec.containers[0].image: "hostile.example/good/App:1" is not an image reference`,
			help: "Names are in lower case. What ran before the commit runs on.",
		},
		{
			name: "never-pulled", what: "The image is not on the node, and must not be pulled", image: "hostile.example/good/app:3",
			container: "imagePullPolicy: Never",
			says:      "ErrImageNeverPull: container app: hostile.example/good/app:3: it is not on this machine, and its pull policy is Never",
			help:      "Put an archive of it into the node's image directory, or leave imagePullPolicy out.",
		},
	}
}

func registryInputs() []badInput {
	return []badInput{
		{
			name: "registry-closed", what: "Nobody listens at the registry's address", image: "closed.example/app:1",
			says: "ImagePullBackOff: container app: closed.example/app:1: …: connection refused",
			help: "Correct the registry's name, or its mirror in hosts.toml.",
		},
		{
			name: "registry-strange", what: "The registry's certificate is signed by nobody known", image: "strange.example/app:1",
			says: "ImagePullBackOff: container app: strange.example/app:1: …: certificate signed by unknown authority",
			help: "Name the authority's certificate as ca in hosts.toml.",
		},
		{
			name: "registry-stalls", what: "The registry takes the request, and is silent", image: "hostile.example/stalls/app:1",
			says: "container app: hostile.example/stalls/app:1: registry … has sent nothing for 30s: it is overloaded, or something between here and there drops packets",
			help: "It is asked again, ever more rarely. Other images are pulled meanwhile.",
		},
		{
			name: "registry-breaks", what: "The registry has an error of its own", image: "hostile.example/breaks/app:1",
			says: "ImagePullBackOff: container app: hostile.example/breaks/app:1: …: 500 Internal Server Error",
			help: "See the registry's own log.",
		},
		{
			name: "no-credentials", what: "The registry wants credentials, and the pod has none", image: "hostile.example/asks/app:1",
			says: "the registry does not let this node have it: it needs a secret in imagePullSecrets, or the node's own credentials",
			help: "Give the pod, or its service account, a pull secret.",
		},
		{
			name: "pull-secret-missing", what: "The image pull secret is not there", image: "hostile.example/asks/app:2",
			pod:  "imagePullSecrets: [{name: nowhere}]",
			says: "without the image pull secrets nowhere: not declared in the pod's namespace as a secret for registries",
			help: "Declare it in the pod's namespace. An image that everybody may have runs without it.",
		},
		{
			name: "pull-secret-garbled", what: "The image pull secret is not JSON", image: "hostile.example/asks/app:3",
			pod:  "imagePullSecrets: [{name: garbled}]",
			also: secretManifest("garbled", "kubernetes.io/dockerconfigjson", `.dockerconfigjson: "robot:hunter2"`),
			says: "image pull secret garbled: .dockerconfigjson: it is not JSON as docker writes it",
			help: "Make it with kubectl create secret docker-registry --dry-run=client -o yaml.",
		},
	}
}

func manifestInputs() []badInput {
	return []badInput{
		{
			name: "manifest-garbled", what: "The manifest is a page for people", image: "hostile.example/good/garbled:1",
			says: "what the registry sent as its manifest is not JSON; something between here and there may have answered instead",
			help: "Look for a proxy that wants somebody to sign in.",
		},
		{
			name: "manifest-other", what: "The name stands for something else than an image", image: "hostile.example/good/chart:1",
			says: "what the registry has under that name is no image: its media type is application/vnd.example.chart.v1+json",
			help: "Take the image's name, not that of a chart or a signature.",
		},
		{
			name: "manifest-altered", what: "The manifest is not what its digest says", image: "hostile.example/lies/app:1",
			says: "what the registry sent is not what its digest says: it was damaged or changed: failed commit on ref \"manifest-sha256:…",
			help: "Push the image again; look at what stands between node and registry.",
		},
		{
			name: "layer-altered", what: "A layer is not what its digest says", image: "hostile.example/alters/app:1",
			says: "what the registry sent is not what its digest says: it was damaged or changed: failed commit on ref \"layer-sha256:…",
			help: "The same.",
		},
		{
			name: "layer-cut", what: "A layer ends too early", image: "hostile.example/cuts/app:1",
			says: "the registry's answer broke off: …",
			help: "It is asked again. If it stays so, push the image again.",
		},
		{
			name: "image-foreign", what: "The image is for other machines only", image: "hostile.example/good/foreign:1",
			says: "it has no variant for this machine, which is linux/", help: "Build it for this platform too, or choose nodes by kubernetes.io/arch.",
		},
		{
			name: "image-labels", what: "The image's labels take megabytes", image: "hostile.example/good/wordy:1",
			says: "the image's metadata (application/vnd.oci.image.config.v1+json) has 52…: at most 4194304 are taken",
			help: "Build it with shorter labels.",
		},
	}
}

func imageInputs() []badInput {
	return []badInput{
		{
			name: "image-hardlink", what: "A hard link in a layer leads out of the image", image: "hostile.example/good/hardlinks:1",
			says: "failed to extract layer…: no such file or directory",
			help: "It is looked for inside of the image, and is not there. Do not trust the image.",
		},
		{
			name: "image-device", what: "A layer has a device of the machine", image: "hostile.example/good/devices:1",
			container: `command: [sh, -c, "head -c 1 /kmsg"]`,
			says:      "it ended with exit code 1: head: /kmsg: Operation not permitted",
			help:      "A container has the devices that it asks for by an extended resource, and no others.",
		},
		{
			name: "image-user", what: "The image's user is not in its /etc/passwd", image: "hostile.example/good/unknown:1",
			says: "CreateContainerError: container app: …: user mallory: the image's /etc/passwd has none of that name",
			help: "Set runAsUser, or have the image name a user that it has.",
		},
		{
			name: "image-passwd", what: "The image's /etc/passwd is a link to a file of the machine", image: "hostile.example/good/passwd:1",
			says: "user root: the image's /etc/passwd has none of that name",
			help: "The link leads to where it would inside of the image.",
		},
		{
			name: "image-pipe", what: "The image's /etc/passwd is a pipe, to which nobody writes", image: "hostile.example/good/pipe:1",
			says: "the image's /etc/passwd: open etc/passwd: it is no plain file: its mode is prw-r--r--",
			help: "Do not trust the image.",
		},
		{
			name: "image-root", what: "The image's user is root, and the pod says it must not be",
			container: "securityContext: {runAsNonRoot: true}",
			says:      "runAsNonRoot is set, but the container would run as root: set runAsUser, or a user in the image",
			help:      "Do so.",
		},
		{
			name: "image-alias", what: "The same, and the image calls root by another name", image: "hostile.example/good/alias:1",
			container: "securityContext: {runAsNonRoot: true}",
			says:      "runAsNonRoot is set, but the container would run as root: set runAsUser, or a user in the image",
			help:      "Do so. What counts is the number.",
		},
		{
			name: "image-silent", what: "Neither the image nor the pod has a command", image: "hostile.example/good/silent:1",
			says: "there is nothing to run: the image names no command, set the container's command", help: "Do so.",
		},
	}
}

// containedInputs are tricks of images that come to nothing: the pods run.
func containedInputs() []badInput {
	const says, help = "app …  running, 0 restarts, ready true", "Nothing: "
	return []badInput{
		{
			name: "image-dots", what: "A path in a layer leads out of the image by dots", image: "hostile.example/good/dots:1",
			says: says, help: help + "the file is inside of the image.",
		},
		{
			name: "image-symlinks", what: "A layer writes through its own links to / and ../..", image: "hostile.example/good/symlinks:1",
			says: says, help: help + "the files are inside of the image.",
		},
		{
			name: "image-volumes", what: "The image names volumes outside of itself", image: "hostile.example/good/volumes:1",
			says: says, help: help + "only the pod's volumes count.",
		},
	}
}
