/* cli/sendmail.h -- `facteur sendmail`, also as /usr/sbin/sendmail, mailq and newaliases: what cron and scripts call.
 *
 *   facteur sendmail [-t] [-i | -oi] [-f SENDER] [-F NAME] [-v] [--] [RECIPIENT …]  < message
 *   -t  recipients also from To, Cc and Bcc        -i, -oi  a line with a lone dot is text, not the end
 *   -f, -r  envelope sender ("<>": none)           -F  name for a message without From
 *   -bs  SMTP on standard input and output         -v  shows the conversation
 * Other options of the old program are taken and ignored. */
#ifndef FACTEUR_CLI_SENDMAIL_H
#define FACTEUR_CLI_SENDMAIL_H

/* argv[0] is the name it was called by ("sendmail", "/usr/sbin/sendmail", "mailq"); dir the data folder, whose submit.sock it talks
 * to. Returns a code of <sysexits.h>: 0 it is on disk at the server; 64 wrong usage; 65 the message was refused; 67 unknown
 * recipient; 69 refused for another reason; 75 not now: try again; 77 not allowed. */
int cli_sendmail(int argc, char **argv, const char *dir);
#endif
