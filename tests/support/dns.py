"""dns: answers every question for an A record from a file, which is read for each: addresses, and "delay SECONDS".
SPDX-License-Identifier: MIT
usage: dns.py ADDRESS FILE"""
import socket
import struct
import sys
import time

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("serving", flush=True)
while True:
    query, client = server.recvfrom(512)
    end = 12
    while query[end]:
        end += 1 + query[end]
    question = query[12 : end + 5]
    is_a = struct.unpack(">H", question[-4:-2])[0] == 1
    addresses = []
    for line in open(sys.argv[2]):
        word = line.split()
        if word[0] == "delay":
            time.sleep(float(word[1]))
        elif is_a:
            addresses.append(socket.inet_aton(word[0]))
    answer = query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0) + question
    for address in addresses:
        answer += struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + address
    server.sendto(answer, client)
