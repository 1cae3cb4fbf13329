"""A mail server that misbehaves as it is told.

    server.py PORT FOLDER [CERTIFICATE]

FOLDER/plan has a line for each connection that is to go wrong, in the order in which they come: a stage and what
happens there, as in `RCPT drop`. A line is taken once; without one all goes well. The stages are GREETING, EHLO,
STARTTLS, MAIL, RCPT, DATA (the command) and END (the message was taken, and is answered). What happens is `drop`,
`hang`, `slow`, or a number of three digits: the answer. `END drop` has taken the mail and does not say so. `STARTTLS
inject` answers before TLS what is asked under it; `GREETING endless` begins a line and never ends it. A last line
`always STAGE WHAT` holds for all connections after it.

FOLDER/log has a line of JSON for all that was said: the connection, the stage, and for a mail what it is.

With CERTIFICATE (`unknown`, `good`, `other`) it speaks TLS after STARTTLS: signed by nobody that anybody trusts, by the
authority of FOLDER/ca.pem, or by that for another name than localhost. With a plus sign after it, from the start.
"""

import asyncio
import email
import json
import os
import ssl
import sys
from email import policy
from pathlib import Path

import trustme
from aiosmtpd.smtp import SMTP

PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
CERTIFICATE = sys.argv[3] if len(sys.argv) > 3 else ""
SLOW = 0.4
log = open(FOLDER / "log", "a", buffering=1)
connections = 0


def next_of_plan() -> tuple[str, str]:
    """Takes the first line of the plan."""
    path = FOLDER / "plan"
    lines = path.read_text().splitlines() if path.exists() else []
    if not lines:
        return "", ""
    *always, stage, what = lines[0].split()
    if not always:
        new = path.with_suffix(".new")
        new.write_text("".join(line + "\n" for line in lines[1:]))
        os.replace(new, path)
    return stage, what


class Handler:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=policy.default)
        stage, what = server.plan
        # Whether the mail is taken: the client cannot know it if nothing is answered.
        taken = stage != "END" or what in ("drop", "hang", "slow")
        server.note(
            "TAKEN" if taken else "REFUSED",
            to=envelope.rcpt_tos,
            sender=envelope.mail_from,
            subject=str(message["subject"]),
            id=str(message["message-id"]),
            text=message.get_body(("plain",)).get_content(),
            html=message.get_body(("html",)).get_content(),
            tls=session.ssl is not None or CERTIFICATE.endswith("+"),
        )
        if stage == "END" and what[0].isdigit():
            return f"{what} as told"
        await server.misbehaves("END")
        return "250 OK"


class Server(SMTP):
    def __init__(self, *args, **kwargs):
        global connections
        connections += 1
        self.number = connections
        self.plan = next_of_plan()
        super().__init__(*args, **kwargs)

    def note(self, stage, **what):
        log.write(json.dumps({"connection": self.number, "plan": " ".join(self.plan), "stage": stage, **what}) + "\n")
        log.flush()

    async def misbehaves(self, stage) -> bool:
        """Does what the plan says of the stage. Whether nothing is left to be said there."""
        if self.plan[0] != stage:
            return False
        what = self.plan[1]
        if what == "slow":
            await asyncio.sleep(SLOW)
            return False
        if what == "inject":
            # With the consent, as somebody on the way would: it is not under TLS, and answers what will be said there.
            push = self.push

            async def once(status):
                self.push = push
                await push(f"{status}\r\n250 as told")

            self.push = once
            return False
        if what == "endless":
            while not self.transport.is_closing():
                self._writer.write(b"2" * 65536)
                await self._writer.drain()
            return True
        if what == "hang":
            await asyncio.sleep(3600)
        if what[0].isdigit():
            await self.push(f"{what} as told")
        else:
            self.transport.abort()
        return True

    async def _handle_client(self):
        if await self.misbehaves("GREETING"):
            self.transport.close()
            return
        await super()._handle_client()

    async def smtp_EHLO(self, hostname):
        self.note("EHLO")
        if not await self.misbehaves("EHLO"):
            await super().smtp_EHLO(hostname)

    async def smtp_HELO(self, hostname):
        self.note("HELO")
        if not await self.misbehaves("EHLO"):
            await super().smtp_HELO(hostname)

    async def smtp_STARTTLS(self, arg):
        self.note("STARTTLS")
        if not await self.misbehaves("STARTTLS"):
            await super().smtp_STARTTLS(arg)

    async def smtp_MAIL(self, arg):
        self.note("MAIL", said=arg)
        if not await self.misbehaves("MAIL"):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg):
        self.note("RCPT", said=arg)
        if not await self.misbehaves("RCPT"):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg):
        self.note("DATA", said=arg)
        if not await self.misbehaves("DATA"):
            await super().smtp_DATA(arg)


def tls() -> ssl.SSLContext | None:
    kind = CERTIFICATE.rstrip("+")
    if not kind:
        return None
    authority = trustme.CA()
    authority.cert_pem.write_to_path(FOLDER / "ca.pem")
    if kind == "unknown":
        authority = trustme.CA()
    certificate = authority.issue_cert("mail.example.com" if kind == "other" else "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


async def main():
    context = tls()
    from_the_start = CERTIFICATE.endswith("+")
    kwargs = {"hostname": "localhost", "timeout": 3600}
    if context and not from_the_start:
        kwargs |= {"tls_context": context, "require_starttls": False}
    server = await asyncio.get_running_loop().create_server(
        lambda: Server(Handler(), **kwargs), "127.0.0.1", PORT, ssl=context if from_the_start else None
    )
    async with server:
        await server.serve_forever()


asyncio.run(main())
