# Functions for batch scripts of guests on one network. Who sends listens, and who receives tries until it does, so they
# may start in any order. nc ends when its peer has nothing more to say, so who receives has an input that never ends.
mkfifo /tmp/silence

# send PORT MIB: random bytes to whoever connects; prints their SHA-256.
send() {
  mkfifo "/tmp/sent$1"
  sha256sum <"/tmp/sent$1" >"/tmp/sum$1" &
  local sum=$!
  dd if=/dev/urandom bs=64k count=$(($2 * 16)) 2>/dev/null | tee "/tmp/sent$1" | nc -l -p "$1"
  wait $sum
  echo "sent $1 $(cut -d' ' -f1 "/tmp/sum$1")"
}

# receive ADDRESS PORT: reads to the end; prints the bytes' SHA-256.
receive() {
  echo "received $2 $({ until nc "$1" "$2" <>/tmp/silence; do sleep 1; done; } | sha256sum | cut -d' ' -f1)"
}

# take PORT: what is sent to this port; prints its SHA-256.
take() {
  echo "taken $1 $(nc -l -p "$1" <>/tmp/silence | sha256sum | cut -d' ' -f1)"
}

# Both ends have come here when both go on.
meet_here() { echo | nc -l -p 5999; }
meet_at() { until nc "$1" 5999 </dev/null >/dev/null; do sleep 1; done; }

# ping_all ADDRESS COUNT: fails unless each is answered.
ping_all() {
  until ping -c 1 -W 1 "$1" >/dev/null; do :; done
  ping -A -q -c "$2" "$1" >/tmp/ping
  cat /tmp/ping
  grep -q "^$2 packets transmitted, $2 packets received, 0% packet loss" /tmp/ping
}
