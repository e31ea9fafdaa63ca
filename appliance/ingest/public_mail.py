"""Domains under which anybody can get an address: they say nothing about where a person works.

A domain too many here only leaves a company unmatched; one that is missing would show a company's data for every
stranger with an address there. So where providers have a domain in many countries, the name counts under every ending
of a country, as in Apache SpamAssassin's list of free mail domains (rules/20_freemail_domains.cf, 2024).
"""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = (
    *("aol", "excite", "fastmail", "freemail", "gmx", "hotmail", "live", "lycos", "mail", "msn", "outlook"),
    *("protonmail", "rocketmail", "tiscali", "tutanota", "windowslive", "yahoo", "yandex", "ymail", "zoho", "zohomail"),
)
_IN_ANY_COUNTRY: Final = re.compile(rf"(?:{'|'.join(_NAMES)})\.(?:(?:com|co|org|net|ne)\.)?(?:[a-z]{{2}}|com|net|org)")

# The larger ones of that list.
_FREE: Final = """
gmail.com googlemail.com icloud.com me.com mac.com aim.com netscape.net cs.com compuserve.com juno.com
hush.com hushmail.com safe-mail.net runbox.com email.com usa.com inbox.com myself.com consultant.com europe.com
iname.com post.com writeme.com dr.com engineer.com cheerful.com techie.com linuxmail.org accountant.com lawyer.com
doctor.com inbox.ru rambler.ru narod.ru ya.ru ukr.net bigmir.net web.de t-online.de freenet.de arcor.de aon.at
laposte.net free.fr orange.fr libero.it virgilio.it alice.it tin.it inwind.it iol.it email.it tim.it
sapo.pt clix.pt iol.pt netcabo.pt eircom.net hetnet.nl telenet.be pandora.be spray.se home.se jubii.dk luukku.com
suomi24.fi wp.pl o2.pl onet.pl interia.pl gazeta.pl tlen.pl seznam.cz email.cz centrum.cz atlas.cz post.cz azet.sk
centrum.sk zoznam.sk citromail.hu abv.bg mynet.com hot.ee inbox.lv walla.com walla.co.il
qq.com vip.qq.com foxmail.com 163.com vip.163.com 126.com yeah.net 188.com sina.com sina.cn sohu.com 21cn.com 139.com
189.cn aliyun.com naver.com hanmail.net daum.net nate.com rediffmail.com indiatimes.com sify.com in.com
uol.com.br bol.com.br ig.com.br globomail.com zipmail.com.br ciudad.com.ar arnet.com.ar
"""

# Of subscribers' lines.
_SUBSCRIBERS: Final = """
comcast.net att.net sbcglobal.net bellsouth.net pacbell.net ameritech.net swbell.net verizon.net cox.net charter.net
spectrum.net roadrunner.com rr.com twc.com optonline.net optimum.net earthlink.net mindspring.com netzero.net
netzero.com frontier.com frontiernet.net windstream.net centurylink.net centurytel.net embarqmail.com q.com
suddenlink.net cableone.net wowway.com rcn.com peoplepc.com rogers.com shaw.ca bell.net sympatico.ca videotron.ca
telus.net cogeco.ca eastlink.ca btinternet.com btopenworld.com talktalk.net virginmedia.com virgin.net
blueyonder.co.uk ntlworld.com o2.co.uk orange.net sky.com plusnet.com freeserve.co.uk wanadoo.co.uk
wanadoo.fr sfr.fr neuf.fr bbox.fr numericable.fr aliceadsl.fr club-internet.fr fastwebnet.it poste.it
movistar.es terra.es ono.com ziggo.nl kpnmail.nl kpnplanet.nl planet.nl home.nl xs4all.nl chello.nl casema.nl
quicknet.nl upcmail.nl skynet.be proximus.be scarlet.be voo.be online.de vodafonemail.de magenta.de email.de
bluewin.ch hispeed.ch chello.at utanet.at telia.com bredband.net comhem.se tele2.se stofanet.dk online.no kolumbus.fi
pp.inet.fi volny.cz otenet.gr bezeqint.net netvision.net.il 012.net.il
docomo.ne.jp ezweb.ne.jp au.com softbank.ne.jp nifty.com biglobe.ne.jp ocn.ne.jp goo.ne.jp
bigpond.com bigpond.net.au optusnet.com.au iinet.net.au internode.on.net tpg.com.au dodo.com.au ozemail.com.au
xtra.co.nz slingshot.co.nz orcon.net.nz mweb.co.za telkomsa.net vodamail.co.za
terra.com.br globo.com oi.com.br r7.com prodigy.net.mx fibertel.com.ar speedy.com.ar
"""

# Younger than that list, or forwarding addresses.
_OTHERS: Final = """
proton.me pm.me tuta.com tuta.io tutamail.com keemail.me hey.com hushmail.me mailbox.org mailfence.com posteo.de
posteo.net startmail.com disroot.org riseup.net kolabnow.com list.ru bk.ru internet.ru lenta.ru ro.ru autorambler.ru
myrambler.ru i.ua meta.ua tut.by inbox.lt onet.eu op.pl interia.eu poczta.onet.pl vp.pl indamail.hu dir.bg kakao.com
rediff.com tom.com wo.cn duck.com anonaddy.me addy.io simplelogin.com simplelogin.io mozmail.com relay.firefox.com
privaterelay.appleid.com
"""

_ALL: Final = frozenset(" ".join((_FREE, _SUBSCRIBERS, _OTHERS)).split())


def is_public_mail(domain: str) -> bool:
    """Return whether anybody can get an address of this domain, given in its normal form."""
    return domain in _ALL or _IN_ANY_COUNTRY.fullmatch(domain) is not None
