"""A telephone of the live runs made of pjsua2. One order a line on standard input, one event a line on standard output."""

import os
import queue
import sys
import threading

import pjsua2 as pj


def say(text):
    print(text, flush=True)


class Call(pj.Call):
    def __init__(self, account, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        self.account = account

    def onCallState(self, prm):
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            say("established")
        elif info.state == pj.PJSIP_INV_STATE_EARLY and info.role == pj.PJSIP_ROLE_UAC:
            say(f"progress {int(info.lastStatusCode)}")
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            say(f"ended {int(info.lastStatusCode)} {info.lastReason}")
            self.account.calls.append(self.account.call)
            self.account.call = None

    def onCallMediaState(self, prm):
        info = self.getInfo()  # its list dies with it
        for media in info.media:
            if media.type == pj.PJMEDIA_TYPE_AUDIO:
                words = {
                    pj.PJSUA_CALL_MEDIA_ACTIVE: "media active",
                    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "media held",
                    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "media held by the other",
                }
                say(words.get(media.status, f"media {int(media.status)}"))


class Account(pj.Account):
    def __init__(self):
        super().__init__()
        self.call = None
        self.calls = []  # ended calls are kept: pjsua2 still touches them after the last callback

    def onRegState(self, prm):
        say(f"registration {int(prm.code)} {prm.reason}")

    def onIncomingCall(self, prm):
        call = Call(self, prm.callId)
        if self.call is not None:
            answer(call, 486)
            self.calls.append(call)
            return
        self.call = call
        answer(call, 180)
        say("incoming")

    def onInstantMessage(self, prm):
        say(f"message {prm.msgBody}")


def answer(call, code):
    prm = pj.CallOpParam()
    prm.statusCode = code
    call.answer(prm)


def obey(account, word, rest):
    call = account.call
    if word == "dial":
        account.call = Call(account)
        account.call.makeCall(rest, pj.CallOpParam(True))
    elif word == "answer":
        answer(call, 200)
    elif word == "busy":
        answer(call, 486)
    elif word == "hold":
        call.setHold(pj.CallOpParam())
    elif word == "resume":
        prm = pj.CallOpParam(True)
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        call.reinvite(prm)
    elif word == "hangup":
        call.hangup(pj.CallOpParam())
    else:
        say(f"no such order: {word}")


def read_orders(orders):
    for line in sys.stdin:
        orders.put(line.strip())
    orders.put("quit")


def main():
    user, password, vip, address, log = sys.argv[1:6]
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = 5
    config.logConfig.consoleLevel = 0
    config.logConfig.filename = log
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.port = 5060
    transport.boundAddress = address
    transport_id = endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.audDevManager().setNullDev()
    endpoint.libStart()
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMU") else 0)
    settings = pj.AccountConfig()
    settings.idUri = f"sip:{user}@rack.test"
    settings.regConfig.registrarUri = "sip:rack.test"
    settings.regConfig.retryIntervalSec = 0
    settings.sipConfig.proxies.append(f"sip:{vip};lr")
    settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
    settings.sipConfig.transportId = transport_id
    settings.mediaConfig.transportConfig.boundAddress = address
    account = Account()
    account.create(settings)
    orders = queue.Queue()
    threading.Thread(target=read_orders, args=(orders,), daemon=True).start()
    while True:
        endpoint.libHandleEvents(20)
        try:
            word, _, rest = orders.get_nowait().partition(" ")
        except queue.Empty:
            continue
        if word == "quit":
            break
        try:
            obey(account, word, rest)
        except (pj.Error, AttributeError) as error:
            say(f"order {word} failed: {error}")
    # pjsua2's own clean-up after Python's is a known crash; the kernel closes the socket as well.
    os._exit(0)


main()
