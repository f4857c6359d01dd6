"""Debian's Thunderbird, headless, as one who reads and files mail: its own database and store are looked at, not what it was told to do."""
import os
import re
import shutil
import tempfile

from harness import wait_for
from marionette import Marionette

PREFERENCES = {
    "app.update.enabled": "false", "datareporting.policy.dataSubmissionEnabled": "false", "network.dns.offline-localhost": "false",
    "mail.rights.version": "1", "mailnews.start_page.enabled": "false", "mail.provider.suppress_dialog_on_startup": "true",
    "mail.spotlight.firstRunDone": "true", "mail.winsearch.firstRunDone": "true", "mail.biff.show_alert": "false", "mail.biff.play_sound": "false",
    "mail.server.default.check_all_folders_for_new": "true", "mail.shell.checkDefaultClient": "false", "toolkit.telemetry.enabled": "false",
    "mail.imap.use_status_for_biff": "false", "mail.openMessageBehavior.version": "1",
}

# What scripts share. Folders are named as on the server, with "/"; messages by their subject, which is theirs alone.
PRELUDE = """
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = () => MailServices.accounts.allServers.find(s => s.type == "imap");
const all = () => server().rootFolder.descendants.filter(f => !(f.flags & Ci.nsMsgFolderFlags.Virtual));
const name_of = f => f.QueryInterface(Ci.nsIMsgImapMailFolder).onlineName;
const folder = name => { const f = all().find(f => name_of(f) == name); if (!f) throw new Error("no folder " + name + " among " + all().map(name_of)); return f; };
const headers = f => Array.from(f.msgDatabase.enumerateMessages()).filter(h => !(h.flags & Ci.nsMsgMessageFlags.IMAPDeleted));
const one = (f, subject) => { const h = headers(f).find(h => h.mime2DecodedSubject == subject); if (!h) throw new Error("no message " + subject); return h; };
// A folder has one listener: what Thunderbird does by itself meanwhile may take the place of ours, which then never hears the end (may_be_silent).
const ended = (start, may_be_silent) => new Promise((good, bad) => {
	setTimeout(() => may_be_silent ? good() : bad(new Error("no end after 20 s of " + start)), may_be_silent ? 3000 : 20000);
	start({
		QueryInterface: ChromeUtils.generateQI(["nsIUrlListener", "nsIMsgCopyServiceListener"]),
		OnStartRunningUrl() {}, OnStopRunningUrl(url, status) { Components.isSuccessCode(status) ? good() : bad(new Error("status 0x" + status.toString(16) + " of " + url.spec)); },
		onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
		onStopCopy(status) { Components.isSuccessCode(status) ? good() : bad(new Error("copy: status 0x" + status.toString(16))); },
	});
});
// It may be busy with what it does by itself (NS_MSG_FOLDER_BUSY).
const when_free = async start => {
	for (let tries = 20; ; tries--)
		try { return await ended(start, true); }
		catch (why) { if (why.result != 0x8055000a || tries == 0) throw why; await new Promise(go_on => setTimeout(go_on, 250)); }
};
const update = f => ended(l => f.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, l), true);
"""

ACCOUNT = """
const [host, port, user, password, ca] = args;
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(ca, "CT,C,C");
const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
login.init("imap://" + host, null, "imap://" + host, user, password, "", "");
await Services.logins.addLoginAsync(login);
const incoming = MailServices.accounts.createIncomingServer(user, host, "imap");
incoming.port = port;
incoming.socketType = Ci.nsMsgSocketType.SSL;
incoming.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
incoming.QueryInterface(Ci.nsIImapIncomingServer).deleteModel = Ci.nsMsgImapDeleteModels.DeleteNoTrash;
const account = MailServices.accounts.createAccount();
account.incomingServer = incoming;
const identity = MailServices.accounts.createIdentity();
identity.email = user;
account.addIdentity(identity);
await update(incoming.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox));  // asks for the list, too
"""

SYNC = """
const names = args[0];
for (const name of names) {
	await update(folder(name));
	await when_free(l => folder(name).QueryInterface(Ci.nsIMsgImapMailFolder).expunge(l, null));
	await update(folder(name));
	await when_free(l => folder(name).downloadAllForOffline(l, null));
}
"""

VIEW = """
const found = {};
for (const name of args[0]) {
	const f = folder(name), here = {};
	for (const h of headers(f)) {
		if (h.mime2DecodedSubject in here) throw new Error(h.mime2DecodedSubject + " is twice in " + name);
		let body = null;
		if (h.flags & Ci.nsMsgMessageFlags.Offline) {
			const s = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
			s.init(f.getMsgInputStream(h, {}));
			body = "";
			for (let more; (more = s.read(65536)).length;) body += more;
			s.close();
		}
		const words = h.getStringProperty("keywords").split(" ");
		here[h.mime2DecodedSubject] = [(h.isFlagged ? "F" : "") + (h.flags & Ci.nsMsgMessageFlags.Replied ? "R" : "") + (h.isRead ? "S" : "") +
			(words.includes("work") ? "w" : ""), body];
	}
	found[name] = here;
}
return found;
"""

MARK = """
const [name, subject, flag, on] = args, f = folder(name), h = one(f, subject);
switch (flag) {
case "S": f.markMessagesRead([h], on); break;
case "F": f.markMessagesFlagged([h], on); break;
case "R": f.addMessageDispositionState(h, Ci.nsIMsgFolder.nsMsgDispositionState_Replied); break;
case "w": on ? f.addKeywordsToMessages([h], "work") : f.removeKeywordsFromMessages([h], "work"); break;
}
"""

MOVE = """
const [from, subject, to, is_move] = args, f = folder(from);
await ended(l => MailServices.copy.copyMessages(f, [one(f, subject)], folder(to), is_move, l, null, false));
await update(folder(to));
"""

REMOVE = "const f = folder(args[0]); await ended(l => f.deleteMessages([one(f, args[1])], null, true, false, l, false));"

ADD = """
const [name, text] = args, file = Services.dirsvc.get("TmpD", Ci.nsIFile);
file.append("message.eml");
file.createUnique(Ci.nsIFile.NORMAL_FILE_TYPE, 0o600);
await IOUtils.writeUTF8(file.path, text);
await ended(l => MailServices.copy.copyFileMessage(file, folder(name), null, false, Ci.nsMsgMessageFlags.Read, "", l, null));
await update(folder(name));
"""


def decoded(folder):
    """Thunderbird speaks UTF-8 (ENABLE UTF8=ACCEPT), and says names so."""
    return re.sub("&([^-]*)-", lambda m: f"+{m[1].replace(',', '/')}-".encode().decode("utf-7") if m[1] else "&", folder)


class Thunderbird:
    flags = "SFRw"       # that it sets; R it never takes away
    name = "thunderbird"
    acts_at_once = True  # not only when it syncs
    forgets_marks = True  # it says a flag once; when the connection ends before the answer, what the server has counts (seen in its log)

    def __init__(self, server, user, folders):
        self.names = {decoded(folder): folder for folder in folders}
        self.home, self.restarts = tempfile.mkdtemp(prefix="facteur-thunderbird-"), 0
        self.profile = os.path.join(self.home, "profile")
        os.makedirs(self.profile)
        with open(os.path.join(self.profile, "user.js"), "w") as f:
            f.writelines(f'user_pref("{key}", {value});\n' for key, value in PREFERENCES.items())
        self.program = Marionette("thunderbird", self.profile, self.home)
        with open(os.path.join(server.dir, "ca.pem")) as f:
            ca = "".join(line.strip() for line in f if not line.startswith("-"))
        address = f"{user}@{server.domain}"
        try:
            self.ask(ACCOUNT, "localhost", server.port(993), address, server.passwords[address], ca)
            self.wait_for_folders()
        except BaseException:
            self.close()
            raise

    def ask(self, body, *args):
        return self.program.script(PRELUDE + body, *args)

    def wait_for_folders(self):
        wait_for(lambda: set(self.names) <= set(self.ask("return all().map(name_of);")), 60, "Thunderbird knows the folders")

    def sync(self):
        """A download that was cut off may leave its folder busy until the program ends: then it is started anew, as people do."""
        try:
            self.ask(SYNC, list(self.names))
        except AssertionError as why:
            if "NS_MSG_FOLDER_BUSY" not in str(why):
                raise
            self.program.close()
            self.program = Marionette("thunderbird", self.profile, self.home)
            self.restarts += 1
            self.wait_for_folders()
            self.ask(SYNC, list(self.names))

    def view(self):
        """Bytes come as a character each."""
        return {self.names[name]: {subject: [flags, text and text.encode("latin-1").decode()] for subject, (flags, text) in found.items()}
                for name, found in self.ask(VIEW, list(self.names)).items()}

    def mark(self, folder, subject, flag, on):
        self.ask(MARK, decoded(folder), subject, flag, on or flag == "R")

    def move(self, folder, subject, to):
        self.ask(MOVE, decoded(folder), subject, decoded(to), True)

    def remove(self, folder, subject):
        self.ask(REMOVE, decoded(folder), subject)

    def add(self, folder, subject, text):
        self.ask(ADD, decoded(folder), text)

    def close(self):
        self.program.close()
        shutil.rmtree(self.home, ignore_errors=True)
